import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, Problem } from "../../assistant/web/static/widget/api.js";
import { readContext } from "../../assistant/web/static/widget/site.js";
import { json, serve } from "./browser.js";

const api = () =>
  Object.assign(new Api("https://support.example/widget/v1/"), { token: "secret", conversation: "cnv_1" });
const problemOf = (promise) => promise.then(assert.fail, (problem) => problem);

test("the token goes into a header, never into an address", async () => {
  const requests = serve(() => json({ state: "assistant" }));
  await api().load();
  assert.equal(requests[0].path, "conversations/cnv_1");
  assert.equal(requests[0].headers.Authorization, "Bearer secret");
});

test("a session is asked for by its token in the body, and says from which page", async () => {
  const requests = serve(() => json({ token: "new" }));
  await Object.assign(api(), { origin: "https://shop.example" }).openSession({ token: "secret", name: "Rosa" });
  assert.equal(requests[0].headers.Authorization, undefined);
  assert.equal(requests[0].headers["Widget-Origin"], "https://shop.example");
  assert.equal(requests[0].body, '{"inbox":"default","token":"secret","name":"Rosa"}');
});

test("what is read without a session is asked for in the page's inbox", async () => {
  const requests = serve(() => json({}));
  const asking = Object.assign(api(), { inbox: "acme" });
  await asking.articles("red lamp");
  await asking.article("art_1");
  await asking.figure("fig_1", { thumbnail: true });
  assert.deepEqual(
    requests.map(({ path }) => path),
    [
      "articles?inbox=acme&query=red+lamp&language=",
      "articles/art_1?inbox=acme",
      "figures/fig_1?inbox=acme&thumbnail=1",
    ],
  );
});

test("a first message takes along what was asked before it", async () => {
  const requests = serve(() => json({}));
  await Object.assign(api(), { prechat: { order: "4711" } }).start({ clientId: "1", text: "It leaks.", files: [] });
  assert.equal(requests[0].body.get("prechat"), '{"order":"4711"}');
});

test("a first message says which conversation its customer had left", async () => {
  const requests = serve(() => json({}));
  await api().start({ clientId: "1", text: "It leaks.", files: [], after: "cnv_1" }, { language: "de" });
  assert.equal(requests[0].path, "conversations");
  assert.deepEqual(Object.fromEntries(requests[0].body), {
    client_id: "1",
    text: "It leaks.",
    after: "cnv_1",
    language: "de",
  });
});

test("a refusal carries the server's code and reason", async () => {
  serve(() => json({ code: "unsupported", detail: "This file is not a photo." }, { status: 415 }));
  const problem = await problemOf(api().send({ clientId: "1", text: "", files: [] }));
  assert.ok(problem instanceof Problem);
  assert.equal(problem.status, 415);
  assert.equal(problem.code, "unsupported");
  assert.equal(problem.detail, "This file is not a photo.");
  assert.ok(!problem.isPassing);
});

test("the wait that the server asks for is read from the body, else from the header", async () => {
  serve(() => json({ retry_after: 7 }, { status: 429, headers: { "Retry-After": "3" } }));
  assert.equal((await problemOf(api().load())).retryAfter, 7);
  serve(() => new Response("busy", { status: 503, headers: { "Retry-After": "3" } }));
  assert.equal((await problemOf(api().load())).retryAfter, 3);
  serve(() => json({}, { status: 429, headers: { "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT" } }));
  assert.equal((await problemOf(api().load())).retryAfter, null);
});

test("a proxy's error page is a problem that passes", async () => {
  serve(() => new Response("<h1>Bad gateway</h1>", { status: 502 }));
  const problem = await problemOf(api().load());
  assert.ok(problem.isPassing);
  assert.ok(!problem.isNetwork);
});

test("no answer, or one that breaks off, is a network problem", async () => {
  serve(() => {
    throw new TypeError("Failed to fetch");
  });
  assert.ok((await problemOf(api().load())).isNetwork);
  serve(() => new Response('{"state": "assis'));
  assert.ok((await problemOf(api().load())).isNetwork);
});

test("an ended session and an erased conversation do not come back", async () => {
  for (const [status, kind] of [
    [401, "isEnded"],
    [404, "isGone"],
  ]) {
    serve(() => json({}, { status }));
    const problem = await problemOf(api().load());
    assert.ok(problem[kind] && !problem.isPassing);
  }
});

test("ids cannot leave their place in the address", async () => {
  const requests = serve(() => new Response("photo"));
  await api().attachment("../x?y", { thumbnail: true });
  assert.equal(requests[0].path, "conversations/cnv_1/attachments/..%2Fx%3Fy?thumbnail=1");
});

test("what the page says of the visit comes with each message", async () => {
  const requests = serve(() => json({}, { status: 201 }));
  const asking = Object.assign(api(), { siteContext: readContext({ order_number: "1042", total: 19.5, gone: null }) });
  await asking.send({ clientId: "1", text: "It leaks.", files: [] });
  assert.deepEqual(JSON.parse(requests[0].body.get("context")), { order_number: "1042", total: 19.5 });
});

test("a page that says too much is told what was left out", (context) => {
  const { mock } = context.mock.method(console, "error", () => {});
  const many = Object.fromEntries(Array.from({ length: 22 }, (_, number) => [`n${number}`, number]));
  const read = readContext({ "bad name": 1, list: [], ...many });
  assert.deepEqual(Object.keys(read), Object.keys(many).slice(0, 20));
  assert.match(mock.calls[0].arguments[0], /left out bad name, list, n20, n21/);
});
