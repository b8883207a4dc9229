// What a program does with a client that openapi-typescript makes of our document, checked by TypeScript and then run.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { env: Record<string, string>; exitCode: number };

const client = createClient<paths>({
  baseUrl: process.env.URL ?? "",
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});

function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

// As a form, with a photo.
const photo = new Blob([Uint8Array.from(atob(process.env.PHOTO ?? ""), (letter) => letter.charCodeAt(0))]);
const opened = await client.POST("/api/v1/tickets", {
  params: { header: { "Idempotency-Key": "scenario-1" } },
  body: { text: "My coffee machine shows E21.", requester_email: "rosa@example.org" },
  bodySerializer(body) {
    const form = new FormData();
    for (const [name, value] of Object.entries(body ?? {})) form.append(name, String(value));
    form.append("photos", photo, "display.jpg");
    return form;
  },
});
assert(opened.data, JSON.stringify(opened.error));
const ticket_id: string = opened.data.id;
const size: number | undefined = opened.data.messages[0]?.attachments[0]?.size;
assert(size !== undefined && size > 0, "the photo was sent");

const triaged = await client.POST("/api/v1/tickets/{ticket_id}/triage", { params: { path: { ticket_id } } });
assert(triaged.data, JSON.stringify(triaged.error));
const likely: number | undefined = triaged.data.fields.find((field) => field.name === "priority")?.probability;
assert(likely !== undefined && likely > 0, "priority has a probability");

const found = await client.GET("/api/v1/tickets", { params: { query: { status: ["new", "open"], limit: 5 } } });
assert(found.data?.tickets.some((one) => one.id === ticket_id && one.triaged_at !== null), "the list has it");

const url = "https://shop.example/hook";
const added = await client.POST("/api/v1/webhooks", { body: { url, types: ["ticket.triaged"], inboxes: [] } });
assert(added.data, JSON.stringify(added.error));
assert(added.data.secret.startsWith("whsec_"), "it has a secret");
const webhook_id = added.data.id;
const shown = await client.GET("/api/v1/webhooks/{webhook_id}", { params: { path: { webhook_id } } });
assert(shown.data?.enabled, "the webhook is there");
const removed = await client.DELETE("/api/v1/webhooks/{webhook_id}", { params: { path: { webhook_id } } });
assert(removed.response.status === 204, "and removed");

const wrong = await client.POST("/api/v1/webhooks", { body: { url: "nonsense", types: [], inboxes: [] } });
assert(wrong.error, "a problem is typed");
const field: string | null | undefined = wrong.error.field;
assert(wrong.response.status === 422 && field === "url", `${wrong.response.status} ${field}`);
