// `fetch` for files: it tells how far it is, which fetch cannot, and gives up on a line that has gone silent rather than
// on one that is slow.

const SILENCE = 120_000;

/**
 * @param onProgress called with the part of the body that has been sent, 0 to 1
 * @returns the Response; rejects like fetch if there is none, also when `signal` aborts
 */
export function upload(address, { method, body, headers, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let silence;
    const wait = () => {
      clearTimeout(silence);
      silence = setTimeout(() => request.abort(), SILENCE);
    };
    const fail = () => reject(new TypeError("no response"));
    request.upload.onprogress = (event) => {
      wait();
      if (event.lengthComputable) onProgress?.(event.loaded / event.total);
    };
    request.onload = () =>
      resolve(new Response(request.response, { status: request.status, headers: headersOf(request) }));
    request.onerror = request.onabort = fail;
    request.onloadend = () => clearTimeout(silence);
    if (signal?.aborted) return fail();
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.open(method, address);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    wait();
    request.send(body);
  });
}

function headersOf(request) {
  const lines = request
    .getAllResponseHeaders()
    .trim()
    .split(/[\r\n]+/);
  return lines
    .filter(Boolean)
    .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
}
