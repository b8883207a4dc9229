import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Api } from "../../assistant/web/static/widget/api.js";
import { EventStream, reader } from "../../assistant/web/static/widget/stream.js";
import { document, serve, settle } from "./browser.js";

let streams = [];

/** A server's event stream that the test writes to. */
function eventStream() {
  let controller;
  const body = new ReadableStream({ start: (it) => (controller = it) });
  const write = async (text) => {
    controller.enqueue(new TextEncoder().encode(text));
    await settle();
  };
  const end = async () => {
    controller.close();
    await settle();
  };
  return { response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }), write, end };
}

function follow() {
  const seen = { events: [], connections: [] };
  const stream = new EventStream(new Api("https://support.example/widget/v1/"), {
    onEvent: (kind, payload) => seen.events.push([kind, payload]),
    onConnection: (connection) => seen.connections.push(connection),
  });
  streams.push(stream);
  return { stream, seen };
}

const tick = async (milliseconds) => {
  mock.timers.tick(milliseconds);
  await settle();
};
const resumedFrom = (requests) => requests.map(({ headers }) => headers["Last-Event-ID"] ?? null);

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => {
  for (const stream of streams) stream.stop();
  streams = [];
  document.hidden = false;
  mock.timers.reset();
});

test("events arrive in order, each once", async () => {
  const server = eventStream();
  serve(() => server.response);
  const { stream, seen } = follow();
  stream.start("0");
  await settle();
  await server.write('id: 1\nevent: message.created\ndata: {"n": 1}\n\nid: 2\nevent: answer.de');
  await server.write('lta\ndata: {"n": 2}\n\n: ping\n\n');
  assert.deepEqual(seen.events, [
    ["message.created", { n: 1 }],
    ["answer.delta", { n: 2 }],
  ]);
  assert.deepEqual(seen.connections, [{ connected: true, problem: null }]);
});

test("a stream that ends is resumed after the last event", async () => {
  const servers = [eventStream(), eventStream()];
  const requests = serve(() => servers[requests.length - 1].response);
  const { stream } = follow();
  stream.start("5");
  await settle();
  await servers[0].write("id: 8\nevent: x\ndata: {}\n\n");
  await servers[0].end();
  await tick(100);
  assert.deepEqual(resumedFrom(requests), ["5", "8"]);
});

test("starting again while it runs only moves where it resumes", async () => {
  const servers = [eventStream(), eventStream()];
  const requests = serve(() => servers[requests.length - 1].response);
  const { stream } = follow();
  stream.start("0");
  stream.start("7");
  await settle();
  assert.equal(requests.length, 1);
  await servers[0].end();
  await tick(100);
  assert.equal(resumedFrom(requests).at(-1), "7");
});

test("failures are retried with growing pauses, and reported", async () => {
  const requests = serve(() => new Response("", { status: 500 }));
  const { stream, seen } = follow();
  stream.start("0");
  await settle();
  await tick(1_000); // the first pause is half a second, give or take a quarter
  assert.equal(requests.length, 2);
  await tick(300); // the next is a whole one
  assert.equal(requests.length, 2);
  await tick(1_000);
  assert.equal(requests.length, 3);
  assert.ok(seen.connections.every(({ connected, problem }) => !connected && problem.status === 500));
});

test("the server's Retry-After is kept to", async () => {
  const requests = serve(() => new Response("", { status: 429, headers: { "Retry-After": "60" } }));
  const { stream } = follow();
  stream.start("0");
  await settle();
  await tick(59_000);
  assert.equal(requests.length, 1);
  await tick(1_000);
  assert.equal(requests.length, 2);
});

test("going online retries at once", async () => {
  const requests = serve(() => {
    throw new TypeError("Failed to fetch");
  });
  const { stream } = follow();
  stream.start("0");
  await settle();
  dispatchEvent(new Event("online"));
  await settle();
  assert.equal(requests.length, 2);
});

test("a connection that falls silent is given up and made anew", async () => {
  const servers = [eventStream(), eventStream()];
  const requests = serve((_path, { signal }) => {
    const { response } = servers[requests.length - 1];
    return abortable(response, signal);
  });
  const { stream, seen } = follow();
  stream.start("0");
  await settle();
  await tick(40_000);
  assert.equal(seen.connections.at(-1).connected, false);
  await tick(1_000);
  assert.equal(requests.length, 2);
});

test("a tab in the background lets go of its connection and takes it up when it is shown", async () => {
  const servers = [eventStream(), eventStream()];
  const requests = serve((_path, { signal }) => abortable(servers[requests.length - 1].response, signal));
  const { stream, seen } = follow();
  stream.start("0");
  await settle();
  document.hidden = true;
  document.dispatchEvent(new Event("visibilitychange"));
  await tick(30_000);
  assert.equal(requests[0].signal.aborted, true);
  document.hidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(requests.length, 2);
  assert.ok(seen.connections.every(({ connected }) => connected)); // nobody is told of an interruption
});

test("a stream that was stopped stays so", async () => {
  const requests = serve(() => new Response("", { status: 500 }));
  const { stream } = follow();
  stream.start("0");
  await settle();
  stream.stop();
  await tick(60_000);
  assert.equal(requests.length, 1);
});

test("data that is no JSON is skipped, and what follows it still arrives", async () => {
  const server = eventStream();
  serve(() => server.response);
  const { stream, seen } = follow();
  stream.start("0");
  await settle();
  await server.write("id: 1\nevent: x\ndata: {broken\n\nid: 2\nevent: y\ndata: {}\n\n");
  assert.deepEqual(seen.events, [["y", {}]]);
});

test("the reader takes every line end, split anywhere", () => {
  const whole = "event: a\r\nid: 1\r\ndata: x\r\ndata: y\r\n\r\nevent: b\rdata: z\r\revent:c\ndata\n\n";
  for (let cut = 0; cut <= whole.length; cut += 1) {
    const events = [];
    const read = reader((...event) => events.push(event));
    read(whole.slice(0, cut));
    read(whole.slice(cut));
    assert.deepEqual(
      events,
      [
        ["a", "x\ny", "1"],
        ["b", "z", "1"],
        ["c", "", "1"],
      ],
      `cut at ${cut}`,
    );
  }
});

/** As in a browser, the body of a response ends with an error when its request is aborted. */
function abortable(response, signal) {
  const body = response.body.pipeThrough(new TransformStream(), { signal });
  return new Response(body, { headers: response.headers });
}
