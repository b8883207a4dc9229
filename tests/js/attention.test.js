import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Attention } from "../../assistant/web/static/widget/attention.js";
import { settle } from "./browser.js";

const nobody = { delivered: null, seen: null, seen_by_agents: null };
const said = (id, author, text = id) => ({ id, author, text, client_id: author === "customer" ? `c_${id}` : null });

let told;
let unread;
let api;
let attention;

beforeEach(() => {
  told = [];
  api = {
    conversation: "cnv_1",
    read: async (message, seen) => void told.push([message, seen]),
    typing: mock.fn(async () => {}),
  };
  attention = new Attention(api, { onUnread: (news) => (unread = news), onChange() {} });
});

test("replies that came while nobody looked are counted, with a preview of the last", () => {
  attention.start([said("m1", "customer"), said("m2", "assistant")], nobody);
  attention.add(said("m3", "system"));
  attention.add(said("m4", "agent", "I am Alice. ".repeat(40)));
  attention.add(said("m4", "agent")); // delivered twice
  assert.equal(unread.count, 2);
  assert.equal(unread.preview.length, 140);
  assert.deepEqual(told, [
    ["m2", false],
    ["m3", false],
    ["m4", false],
  ]);
});

test("what the customer has before them is told once and no longer counted", () => {
  attention.start([said("m1", "customer"), said("m2", "agent")], { ...nobody, delivered: "m2" });
  assert.deepEqual(told, []);
  attention.isLooking = true;
  attention.isLooking = true;
  assert.deepEqual([told, unread.count], [[["m2", true]], 0]);
});

test("what was seen elsewhere is not counted here", () => {
  attention.start([said("m1", "customer"), said("m2", "agent"), said("m3", "agent")], nobody);
  assert.equal(unread.count, 2);
  attention.apply({ ...nobody, delivered: "m3", seen: "m3" });
  assert.equal(unread.count, 0);
});

test("a customer who waits for a first answer has nothing to acknowledge", () => {
  attention.isLooking = true;
  attention.start([said("m1", "customer")], nobody);
  assert.deepEqual(told, []);
});

test("what could not be told is told again by itself, less and less often", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let tries = 0;
  api.read = async (...news) => {
    if (++tries < 3) throw { isPassing: true };
    told.push(news);
  };
  attention.isLooking = true;
  attention.start([said("m1", "customer"), said("m2", "agent")], nobody);
  for (const [pause, after] of [
    [1_999, 1],
    [1, 2],
    [3_999, 2],
    [1, 3],
    [600_000, 3],
  ]) {
    await settle();
    mock.timers.tick(pause);
    await settle();
    assert.equal(tries, after);
  }
  assert.deepEqual(told, [["m2", true]]);
  mock.timers.reset();
});

test("what the server refuses to be told is not told again", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  api.read = mock.fn(async () => {
    throw { isPassing: false };
  });
  attention.start([said("m1", "customer"), said("m2", "agent")], nobody);
  await settle();
  mock.timers.tick(600_000);
  attention.isLooking = true;
  await settle();
  assert.equal(api.read.mock.callCount(), 2); // delivered, then seen
  mock.timers.reset();
});

test("replies in other conversations count, also while this one is looked at, and when it is left", () => {
  const listed = (id, unread, author = "agent") => ({ id, unread, last_author: author, last_text: `last of ${id}` });
  attention.start([said("m1", "customer"), said("m2", "agent", "here")], nobody);
  attention.listed = [listed("cnv_1", 1), listed("cnv_2", 0), listed("cnv_3", 2, "system"), listed("cnv_4", 1)];
  assert.deepEqual(unread, { count: 4, preview: "here", elsewhere: 3 });
  attention.isLooking = true;
  assert.deepEqual(unread, { count: 3, preview: "last of cnv_4", elsewhere: 3 });
  api.conversation = null;
  attention.forget();
  assert.equal(unread.count, 3); // what was looked at is not unread
  attention.listed = [];
  assert.deepEqual(unread, { count: 0, preview: "", elsewhere: 0 });
});

test("agents have seen everything up to the newest message that they had before them", () => {
  attention.start([said("m1", "customer"), said("m2", "customer")], { ...nobody, seen_by_agents: "m1" });
  assert.deepEqual([attention.isSeenByAgents("m1"), attention.isSeenByAgents("m2")], [true, false]);
  assert.equal(attention.lastOwn.id, "m2");
});

test("typing is told every few seconds, and not before there is a conversation", () => {
  mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  for (let key = 0; key < 10; key++) {
    attention.typed();
    mock.timers.tick(1_000);
  }
  assert.equal(api.typing.mock.callCount(), 4);
  api.conversation = null;
  mock.timers.tick(10_000);
  attention.typed();
  assert.equal(api.typing.mock.callCount(), 4);
  mock.timers.reset();
});
