"""What a program may ask of the API, one method for each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict, Unpack, cast

import httpx

from assistant.client import shapes
from assistant.client.administration import Administration
from assistant.client.calls import Calls, user_agent
from assistant.client.photos import GivenPhoto, as_files

# Photos are read and models run while a client waits for a triage.
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
ATTEMPTS = 5
_WAIT = 20  # seconds that the server waits for what has not happened yet
_POLL, _POLL_AT_MOST = 0.25, 2.0

FieldValue = str | int | float


class NewRequester(TypedDict, total=False):
    """The customer. ``external_id``: your own id of them."""

    name: str
    email: str
    external_id: str


class AboutTicket(TypedDict, total=False):
    """``external_id``: your own id of the ticket; a second one with it is refused, with the first one's `id` in the
    `document`. ``context``: what agents see beside it. ``language``: that the customer speaks."""

    external_id: str
    tags: Sequence[str]
    context: Mapping[str, str | int | float | bool]
    language: str


class BatchTicket(TypedDict):
    """``reference``: your own id of it, which comes back with the result. ``attachments``: ids from `Client.upload`."""

    text: NotRequired[str]
    subject: NotRequired[str]
    reference: NotRequired[str]
    attachments: NotRequired[Sequence[str]]
    language: NotRequired[str]


class HowSoon(TypedDict, total=False):
    """``priority``: whose work a model does first. ``deadline_seconds``: what is not done by then fails, with the code
    `deadline`."""

    priority: Literal["interactive", "normal", "batch"]
    deadline_seconds: float


class NewDecision(TypedDict):
    """About a ticket, by its id or number. Without ``value``: what was proposed is right. ``if_match``: the ETag with
    which the ticket was read."""

    ticket_id: NotRequired[str]
    number: NotRequired[int]
    field: str
    value: NotRequired[str]
    if_match: NotRequired[str]


class TicketsWanted(TypedDict, total=False):
    """What is left out does not matter. ``q``: words of the ticket. ``updated_since``: a time as ISO 8601 has it."""

    status: Sequence[shapes.TicketStatus]
    priority: Sequence[shapes.Priority]
    conversation_state: Sequence[shapes.ConversationState]
    category: str
    product: str
    team: str
    inbox: str
    assignee_id: str
    unassigned: bool
    requester_email: str
    external_id: str
    q: str
    updated_since: str
    sort: Literal["newest", "changed"]


class TicketChanges(TypedDict, total=False):
    """What is left out stays as it is; None takes it away. ``tags``: all of them."""

    status: shapes.TicketStatus
    priority: shapes.Priority
    assignee_id: str | None
    team: str | None
    tags: Sequence[str]
    snoozed_until: str | None
    fields: Mapping[str, FieldValue | None]


class Events:
    """What happens, in order, without end; see `Client.events`. ``cursor``: where to go on, another day or in another
    process, after what was got so far."""

    def __init__(self, calls: Calls, query: dict[str, Any], *, cursor: str | None, follow: bool) -> None:
        self._calls, self._query, self._follow = calls, query, follow
        self.cursor = cursor

    def __iter__(self) -> Iterator[shapes.Event]:
        wait = _WAIT if self._follow else 0
        while True:
            query = {**self._query, "cursor": self.cursor, "wait": wait}
            page = cast("shapes.EventPage", self._calls.get("/events", query, waits=wait))
            for event in page["events"]:
                self.cursor = event["id"]
                yield event
            self.cursor = page["next_cursor"]
            if not page["events"] and not self._follow:
                return


class Client:
    """Talks to one installation with one key, over connections that it keeps; use it as a context manager, or close it.

    What the API refuses raises `Problem`; without an answer it is an `httpx.TransportError`. Both only after
    ``attempts``, if it might pass by itself. Requests that change something are done once, however often they are sent;
    give an ``idempotency_key`` of your own to one that your program may send again after it was restarted.

    ``transport``: of httpx, for tests and special networks."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: httpx.Timeout | float = TIMEOUT,
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "User-Agent": user_agent()}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout, transport=transport)
        self._calls = Calls(self._http, attempts=attempts)
        self.administration = Administration(self._calls)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def key(self) -> shapes.Key:
        """What this key may do."""
        return cast("shapes.Key", self._calls.get("/key"))

    # Tickets

    def open_ticket(
        self,
        text: str = "",
        *,
        subject: str = "",
        requester: NewRequester | None = None,
        inbox: str | None = None,
        fields: Mapping[str, FieldValue] | None = None,
        photos: Iterable[GivenPhoto] = (),
        attachments: Sequence[str] = (),
        idempotency_key: str | None = None,
        **more: Unpack[AboutTicket],
    ) -> shapes.OpenedTicket:
        """A worker triages it within seconds; see `wait_for_triage`. Photos that are not accepted are listed in
        `rejected_files`. ``attachments``: ids from `upload`."""
        body = _without_none({"subject": subject, "text": text, "inbox": inbox, "attachments": list(attachments)})
        body |= more
        body |= {"tags": list(more.get("tags", ())), "context": dict(more.get("context", {}))}
        body |= {"requester": dict(requester or {}), "fields": dict(fields or {})}
        answer = self._post("/tickets", body, photos=photos, idempotency_key=idempotency_key)
        return cast("shapes.OpenedTicket", answer)

    def get_ticket(self, ticket_id: str) -> shapes.Ticket:
        return cast("shapes.Ticket", self._calls.get(f"/tickets/{ticket_id}"))

    def list_tickets(self, **wanted: Unpack[TicketsWanted]) -> Iterator[shapes.TicketSummary]:
        """All of them, the newest first unless sorted otherwise, a page at a time."""
        query: dict[str, Any] = {**wanted, "limit": 100}
        while True:
            page = cast("shapes.TicketPage", self._calls.get("/tickets", query))
            yield from page["tickets"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def update_ticket(
        self,
        ticket_id: str,
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        **changes: Unpack[TicketChanges],
    ) -> shapes.Ticket:
        """``version`` of the ticket that you have read: if it has changed since, the `Problem` has the status 412."""
        path = f"/tickets/{ticket_id}"
        answer = self._calls.send("PATCH", path, changes, idempotency_key=idempotency_key, version=version)
        return cast("shapes.Ticket", answer)

    def add_note(self, ticket_id: str, text: str, *, idempotency_key: str | None = None) -> shapes.Message:
        """A note for agents, which the customer does not see."""
        path = f"/tickets/{ticket_id}/notes"
        return cast("shapes.Message", self._calls.send("POST", path, {"text": text}, idempotency_key=idempotency_key))

    def add_message(
        self,
        ticket_id: str,
        text: str = "",
        *,
        photos: Iterable[GivenPhoto] = (),
        attachments: Sequence[str] = (),
        client_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> shapes.PostedMessage:
        """A message from the customer. ``client_id``: your own id of it; twice with the same one, it is stored once."""
        body = _without_none({"text": text, "client_id": client_id, "attachments": list(attachments)})
        path = f"/tickets/{ticket_id}/messages"
        answer = self._post(path, body, photos=photos, idempotency_key=idempotency_key)
        return cast("shapes.PostedMessage", answer)

    def upload(self, files: Iterable[GivenPhoto], *, idempotency_key: str | None = None) -> shapes.UploadedFiles:
        """Files to be named later, by their ids, as ``attachments``: a ticket or message takes them, triage only reads
        them. Those that are not used within 24 hours are removed."""
        answer = self._calls.send("POST", "/attachments", files=as_files(files), idempotency_key=idempotency_key)
        return cast("shapes.UploadedFiles", answer)

    def get_attachment(self, attachment_id: str) -> bytes:
        """Of a ticket, or an upload of this key."""
        return self._calls.get_bytes(f"/attachments/{attachment_id}")

    def ask_photo(
        self, attachment_id: str, question: str, *, idempotency_key: str | None = None
    ) -> shapes.PhotoQuestion:
        """A question about a photo of a ticket, and its answer; both are kept with the photo."""
        path = f"/attachments/{attachment_id}/questions"
        answer = self._calls.send("POST", path, {"question": question}, idempotency_key=idempotency_key)
        return cast("shapes.PhotoQuestion", answer)

    def compare_photos(self, attachment_id: str, other_id: str) -> shapes.Comparison:
        """Two photos of one ticket: what has changed from the earlier to the later one."""
        return cast("shapes.Comparison", self._calls.get(f"/attachments/{attachment_id}/compare/{other_id}"))

    def compare_with_reference(self, attachment_id: str) -> shapes.ReferenceComparison:
        """A photo of a ticket and a reference photo of the own product in it: where it looks otherwise than intact. The
        `Problem` has the status 404 if no own product was recognised, or none of its reference photos will do."""
        path = f"/attachments/{attachment_id}/compare/reference"
        return cast("shapes.ReferenceComparison", self._calls.get(path))

    def remove_upload(self, attachment_id: str) -> None:
        """Of this key, and not used."""
        self._calls.send("DELETE", f"/attachments/{attachment_id}")

    # Triage and drafts

    def triage(
        self,
        text: str = "",
        *,
        subject: str = "",
        inbox: str | None = None,
        photos: Iterable[GivenPhoto] = (),
        attachments: Sequence[str] = (),
        language: str | None = None,
        with_draft: bool = True,
        explain: bool = False,
        **how: Unpack[HowSoon],
    ) -> shapes.Assessment:
        """Evidence, triage, passages and a draft of what is not stored. ``language``: that the customer speaks.
        ``explain``: with the words and photos that each field depends on, which takes longer."""
        body = _without_none({"subject": subject, "text": text, "inbox": inbox, "language": language})
        body |= {"attachments": list(attachments), "with_draft": with_draft, "explain": explain, **how}
        return cast("shapes.Assessment", self._post("/triage", body, photos=photos))

    def triage_batch(
        self,
        tickets: Sequence[BatchTicket],
        *,
        inbox: str | None = None,
        with_draft: bool = True,
        idempotency_key: str | None = None,
        **how: Unpack[HowSoon],
    ) -> shapes.BatchStatus:
        """As `triage`, for up to 500 at once; see `batch_results`. It returns before they are done."""
        body = _without_none({"tickets": list(tickets), "inbox": inbox, "with_draft": with_draft}) | how
        return cast("shapes.BatchStatus", self._post("/triage/batch", body, idempotency_key=idempotency_key))

    def batch_results(self, batch_id: str, *, timeout: float = 3600.0) -> Iterator[shapes.BatchResult]:
        """Wait until all of a batch are done, then go through them in the order in which they were sent. Raises
        `TimeoutError` after ``timeout`` seconds; ask again then."""
        path, ends_at = f"/triage/batches/{batch_id}", time.monotonic() + timeout
        while True:
            wait = max(0, min(_WAIT, int(ends_at - time.monotonic())))
            status = cast("shapes.BatchStatus", self._calls.get(path, {"wait": wait}, waits=wait))
            if status["finished_at"] is not None:
                break
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{status['done']} of {status['total']} of batch {batch_id} are done.")
        query: dict[str, Any] = {}
        while True:
            page = cast("shapes.BatchResults", self._calls.get(f"{path}/results", query))
            yield from page["results"]
            if page["next_cursor"] is None:
                return
            query = {"cursor": page["next_cursor"]}

    def triage_ticket(self, ticket_id: str) -> shapes.Triage:
        """Triage a stored ticket now, unless that has been done, and wait for it."""
        return cast("shapes.Triage", self._calls.send("POST", f"/tickets/{ticket_id}/triage"))

    def get_triage(self, ticket_id: str, *, explain: bool = False) -> shapes.Triage:
        """``explain``: with the words and photos that each field depends on, which takes longer."""
        return cast("shapes.Triage", self._calls.get(f"/tickets/{ticket_id}/triage", {"explain": str(explain).lower()}))

    def get_similar(self, ticket_id: str) -> shapes.Similar:
        """What a ticket has in common with others: the fault, photos that look alike, an outbreak."""
        return cast("shapes.Similar", self._calls.get(f"/tickets/{ticket_id}/similar"))

    def wait_for_triage(self, ticket_id: str, *, timeout: float = 120.0) -> shapes.Ticket:
        """The ticket, once a worker has triaged it. Raises `TimeoutError` after ``timeout`` seconds."""
        ends_at, pause = time.monotonic() + timeout, _POLL
        while (ticket := self.get_ticket(ticket_id))["triage"] is None:
            if time.monotonic() + pause > ends_at:
                raise TimeoutError(f"Ticket {ticket_id} was not triaged within {timeout:.0f} seconds.")
            time.sleep(pause)
            pause = min(2 * pause, _POLL_AT_MOST)
        return ticket

    def decide(
        self, ticket_id: str, field: str, value: str | None = None, *, version: str | None = None
    ) -> shapes.Triage:
        """Accept what was proposed for a field, or say what is right; the assistant learns from it. ``version``: as for
        `update_ticket`."""
        path, body = f"/tickets/{ticket_id}/triage/{field}", _without_none({"value": value})
        return cast("shapes.Triage", self._calls.send("PATCH", path, body, version=version))

    def decide_all(
        self, decisions: Sequence[NewDecision], *, idempotency_key: str | None = None
    ) -> list[shapes.DecisionResult]:
        """As `decide`, for up to 500 fields. Each has a result, in order: one that failed says why in its `error`."""
        answer = self._post("/triage/decisions", {"decisions": list(decisions)}, idempotency_key=idempotency_key)
        return cast("shapes.DecisionResults", answer)["results"]

    def send_draft(
        self, ticket_id: str, draft_id: str, *, text: str | None = None, version: str | None = None
    ) -> shapes.SentDraft:
        """To the customer, as it is or with another ``text``. ``version``: as for `update_ticket`."""
        path, body = f"/tickets/{ticket_id}/drafts/{draft_id}/send", _without_none({"text": text})
        return cast("shapes.SentDraft", self._calls.send("POST", path, body, version=version))

    def discard_draft(self, ticket_id: str, draft_id: str) -> shapes.Draft:
        return cast("shapes.Draft", self._calls.send("POST", f"/tickets/{ticket_id}/drafts/{draft_id}/discard"))

    # Articles

    def search_articles(
        self, query: str, *, product: str | None = None, inbox: str | None = None, limit: int = 8
    ) -> list[shapes.Passage]:
        """Passages of public articles, the best first."""
        wanted = {"query": query, "product": product, "inbox": inbox, "limit": limit}
        return cast("shapes.Passages", self._calls.get("/articles/search", wanted))["passages"]

    def list_articles(
        self, *, updated_since: str | None = None, inbox: str | None = None
    ) -> Iterator[shapes.ArticleSummary]:
        """Public articles, as they were changed, a page at a time."""
        query: dict[str, Any] = {"updated_since": updated_since, "inbox": inbox, "limit": 100}
        while True:
            page = cast("shapes.ArticlePage", self._calls.get("/articles", query))
            yield from page["articles"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def get_article(self, article_id: str) -> shapes.Article:
        return cast("shapes.Article", self._calls.get(f"/articles/{article_id}"))

    # Macros

    def list_macros(self) -> list[shapes.Macro]:
        return cast("shapes.Macros", self._calls.get("/macros"))["macros"]

    def apply_macro(self, ticket_id: str, macro_id: str) -> shapes.AppliedMacro:
        """What it does is done; its text is not sent, but returned as it reads for the ticket."""
        answer = self._calls.send("POST", f"/tickets/{ticket_id}/macros/{macro_id}/apply")
        return cast("shapes.AppliedMacro", answer)

    # What happens

    def events(
        self,
        cursor: str | None = None,
        *,
        types: Sequence[str] = (),
        ticket_id: str | None = None,
        follow: bool = True,
    ) -> Events:
        """What happens after ``cursor`` (None: from now on), for a `for` loop. With ``follow`` it waits for what is to
        come; else it ends with the newest. Keep `cursor` of what is returned to go on where you were."""
        query = {"type": tuple(types) or None, "ticket_id": ticket_id, "limit": 100}
        return Events(self._calls, query, cursor=cursor, follow=follow)

    def add_webhook(
        self,
        url: str,
        *,
        types: Sequence[str] = (),
        inboxes: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> shapes.NewlySecret:
        """Have events sent to ``url``. Keep the `secret`, with which `verify` checks them: it is not shown again."""
        body = {"url": url, "types": list(types), "inboxes": list(inboxes)}
        return cast("shapes.NewlySecret", self._post("/webhooks", body, idempotency_key=idempotency_key))

    def list_webhooks(self) -> list[shapes.Webhook]:
        return cast("shapes.Webhooks", self._calls.get("/webhooks"))["webhooks"]

    def remove_webhook(self, webhook_id: str) -> None:
        self._calls.send("DELETE", f"/webhooks/{webhook_id}")

    def request(
        self, method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"], path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        """Anything else that the API offers: ``path`` is what follows `/api/v1`; of GET, ``body`` is the query."""
        return self._calls.get(path, body) if method == "GET" else self._calls.send(method, path, body)

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        photos: Iterable[GivenPhoto] = (),
        idempotency_key: str | None = None,
    ) -> Any:
        files = as_files(photos)
        sent = _as_form(body) if files else body
        return self._calls.send("POST", path, sent, files=files, idempotency_key=idempotency_key)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _as_form(body: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """``requester.name`` is `requester_name`, a custom field's value `fields.KEY`, a list as many fields."""
    form: dict[str, str | list[str]] = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            mark = "_" if name == "requester" else "."
            form |= {f"{name}{mark}{part}": str(inner) for part, inner in value.items()}
        else:
            form[name] = value if isinstance(value, list) else str(value)
    return form
