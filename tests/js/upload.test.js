import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Api } from "../../assistant/web/static/widget/api.js";
import { serveUploads } from "./browser.js";

const MESSAGE = { clientId: "m-1", text: "See photo", files: [{ name: "a.jpg", blob: new Blob(["1234"]) }] };
const api = new Api("https://support.example/widget/v1/");

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

test("files are sent with their progress", async () => {
  const parts = [];
  serveUploads((request) => {
    request.upload.onprogress({ lengthComputable: true, loaded: 1, total: 4 });
    request.respond(201, { message: { id: "msg_1" }, rejected_files: [] });
  });
  const posted = await api.send(MESSAGE, { onProgress: (part) => parts.push(part) });
  assert.equal(posted.message.id, "msg_1");
  assert.deepEqual(parts, [0.25]);
});

test("a refusal is the same as that of any other request", async () => {
  serveUploads((request) => request.respond(429, { code: "rate_limited", detail: "Later." }));
  await assert.rejects(api.send(MESSAGE), { status: 429, code: "rate_limited", retryAfter: 7 });
});

test("the sender stops an upload", async () => {
  const stop = new AbortController();
  serveUploads(() => stop.abort());
  await assert.rejects(api.send(MESSAGE, { signal: stop.signal }), { status: 0 });
  await assert.rejects(api.send(MESSAGE, { signal: AbortSignal.abort() }), { status: 0 });
});

test("a slow line may take its time, a silent one is given up", async () => {
  let request;
  serveUploads((one) => {
    request = one;
  });
  let outcome = "waiting";
  const sending = api.send(MESSAGE).catch(() => {
    outcome = "given up";
  });
  for (let turn = 0; turn < 5; turn += 1) {
    mock.timers.tick(119_000);
    request.upload.onprogress({ lengthComputable: false });
  }
  await Promise.resolve();
  assert.equal(outcome, "waiting");
  mock.timers.tick(120_000);
  await sending;
  assert.equal(outcome, "given up");
});
