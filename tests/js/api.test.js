import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, Problem } from "../../assistant/web/static/widget/api.js";
import { json, serve } from "./browser.js";

const api = () => Object.assign(new Api("https://support.example/widget/v1/"), { token: "secret" });
const problemOf = (promise) => promise.then(assert.fail, (problem) => problem);

test("the token goes into a header, never into an address", async () => {
  const requests = serve(() => json({ state: "assistant" }));
  await api().conversation();
  assert.equal(requests[0].path, "conversation");
  assert.equal(requests[0].headers.Authorization, "Bearer secret");
});

test("a new conversation is started without the old one's token", async () => {
  const requests = serve(() => json({ token: "new" }));
  await api().start({ name: "Rosa" });
  assert.equal(requests[0].headers.Authorization, undefined);
  assert.equal(requests[0].body, '{"name":"Rosa"}');
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
  assert.equal((await problemOf(api().conversation())).retryAfter, 7);
  serve(() => new Response("busy", { status: 503, headers: { "Retry-After": "3" } }));
  assert.equal((await problemOf(api().conversation())).retryAfter, 3);
  serve(() => json({}, { status: 429, headers: { "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT" } }));
  assert.equal((await problemOf(api().conversation())).retryAfter, null);
});

test("a proxy's error page is a problem that passes", async () => {
  serve(() => new Response("<h1>Bad gateway</h1>", { status: 502 }));
  const problem = await problemOf(api().conversation());
  assert.ok(problem.isPassing);
  assert.ok(!problem.isNetwork);
});

test("no answer, or one that breaks off, is a network problem", async () => {
  serve(() => {
    throw new TypeError("Failed to fetch");
  });
  assert.ok((await problemOf(api().conversation())).isNetwork);
  serve(() => new Response('{"state": "assis'));
  assert.ok((await problemOf(api().conversation())).isNetwork);
});

test("an expired token and an erased conversation are gone for good", async () => {
  for (const status of [401, 404]) {
    serve(() => json({}, { status }));
    const problem = await problemOf(api().conversation());
    assert.ok(problem.isGone && !problem.isPassing);
  }
});

test("ids cannot leave their place in the address", async () => {
  const requests = serve(() => new Response("photo"));
  await api().attachment("../x?y", { thumbnail: true });
  assert.equal(requests[0].path, "attachments/..%2Fx%3Fy?thumbnail=1");
});
