"""The API for machines: `/api/v1`, described by its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, has_request_context, render_template, request, url_for

from assistant import payloads
from assistant.desk import (
    access,
    actions,
    audit,
    comparisons,
    conversations,
    corrections,
    custom_fields,
    drafts,
    idempotency,
    inboxes,
    outbreaks,
    photo_questions,
    products,
    site_context,
    state,
    tags,
    tickets,
    triage,
    uploads,
)
from assistant.desk.access import CustomerPrincipal, MachinePrincipal, Scope
from assistant.desk.assess import assess
from assistant.desk.attachments import RejectedFile, attached
from assistant.desk.conditions import Asking
from assistant.desk.idempotency import Once
from assistant.desk.similar import Compared
from assistant.desk.tickets import NewTicket, TicketFilters
from assistant.desk.uploads import Named
from assistant.errors import Invalid, NotFound
from assistant.knowledge import articles as knowledge
from assistant.knowledge import figures
from assistant.media.files import Upload
from assistant.ports import at_priority, within
from assistant.skills.triage_fields import FIELDS, allowed_values
from assistant.text.folding import address
from assistant.web import auth, limits, repeats, schemas
from assistant.web.context import desk
from assistant.web.operations import Operation
from assistant.web.responses import attachment_response, compressed, figure_response, photo_response
from assistant.web.waiting import until

blueprint = APIBlueprint("api", __name__, url_prefix="/api/v1")
blueprint.after_request(limits.tell)
blueprint.after_request(compressed)  # the last one that is named is the first to run
blueprint.after_request(repeats.keep)

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_KINDS = ("image/jpeg", "image/png", "application/octet-stream")
_BYTES: dict[int | str, Any] = {200: {"description": "The bytes", "content": dict.fromkeys(_KINDS, _BINARY)}}


@blueprint.post("/tickets")
@blueprint.output(schemas.OpenedTicket, status_code=201)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.NewTicket, files=True, makes=True)
def open_ticket(machine: MachinePrincipal, body: schemas.NewTicket, files: Sequence[Upload], once: Once | None) -> Any:
    """Open a ticket.

    Send JSON, or multipart/form-data with the same fields (`requester_name` for `requester.name`) and `photos`. Files
    that were uploaded before are named as `attachments`; both together count for the limits of a message.

    Triage and a draft follow within seconds. Files that are not accepted are listed in `rejected_files`; the ticket is
    opened without them.
    """
    new = NewTicket(
        subject=body.subject,
        text=body.text,
        requester_name=body.requester.name,
        requester_email=body.requester.email,
        requester_external_id=body.requester.external_id,
        uploads=tuple(files),
        attachments=body.attachments,
        inbox=body.inbox,
        fields=_field_values(body.fields),
        tags=body.tags,
        context=site_context.checked(body.context),
        language=body.language,
        external_id=body.external_id,
    )
    opened = tickets.open_ticket(desk(), machine, new, once=once)
    ticket, _, headers = _ticket_with_version(machine, opened.ticket.public_id)
    answer = schemas.OpenedTicket(**dict(ticket), rejected_files=_rejected_files(opened.rejected))
    return answer, 201, {**headers, "Location": url_for(".get_ticket", ticket_id=ticket.id)}


@blueprint.get("/tickets")
@blueprint.output(schemas.TicketPage)
@Operation("Tickets", Scope.TICKETS_READ, query=schemas.TicketQuery)
def list_tickets(machine: MachinePrincipal, query: schemas.TicketQuery) -> schemas.TicketPage:
    """List tickets, newest first, or as they were changed."""
    filters = TicketFilters(
        status=query.status,
        priority=query.priority,
        state=query.conversation_state,
        category=query.category,
        product=query.product,
        team=query.team,
        inbox=query.inbox,
        assigned_to=query.assignee_id,
        unassigned=query.unassigned,
        requester_email=address(query.requester_email) if query.requester_email else None,
        external_id=query.external_id,
        text=query.q,
        updated_since=query.updated_since,
    )
    with desk().db.read() as session:
        page = tickets.list_tickets(
            session,
            machine,
            filters,
            cursor=query.cursor,
            limit=query.limit,
            with_fields=False,
            changed_last=query.sort == "changed",
        )
        summaries = tuple(payloads.TicketSummary.of(ticket) for ticket in page.tickets)
        return schemas.TicketPage(tickets=summaries, next_cursor=page.cursor)


@blueprint.get("/tickets/<public_id:ticket_id>")
@blueprint.output(payloads.Ticket)
@Operation("Tickets", Scope.TICKETS_READ)
def get_ticket(machine: MachinePrincipal, ticket_id: str) -> Any:
    """Get a ticket with its messages, evidence, triage and drafts.

    Send its `ETag` as `If-Match` with what changes it, and nobody's change is lost to another's.
    """
    return _ticket_with_version(machine, ticket_id)


@blueprint.patch("/tickets/<public_id:ticket_id>")
@blueprint.output(payloads.Ticket)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.TicketUpdate, versioned=True)
def update_ticket(machine: MachinePrincipal, body: schemas.TicketUpdate, expected: str | None, ticket_id: str) -> Any:
    """Change a ticket's status, priority, assignee, team, tags or custom fields, or snooze it."""
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        tickets.require_version(session, ticket, expected)
        actions.apply(session, ticket, actions.parse(session, _changes(body)), machine)
        if body.tags is not None:
            tags.put(session, ticket, body.tags)
        if body.fields:
            tickets.set_fields(session, ticket, _field_values(body.fields))
    return _ticket_with_version(machine, ticket_id)


@blueprint.post("/tickets/<public_id:ticket_id>/messages")
@blueprint.output(schemas.PostedMessage, status_code=201)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.NewMessage, files=True, makes=True, repeatable=True)
def add_message(
    machine: MachinePrincipal, body: schemas.NewMessage, files: Sequence[Upload], once: Once | None, ticket_id: str
) -> Any:
    """Add a message from the customer.

    Send JSON, or multipart/form-data with the same fields and `photos`. Files that were uploaded before are named as
    `attachments`. Repeating a `client_id` returns the first message with status 200.
    """
    with desk().db.read() as session:
        customer = CustomerPrincipal(access.access_ticket(session, machine, ticket_id).conversation_id)
    client_id = body.client_id or (f"idempotency:{once.key}" if once is not None else None)
    posted = conversations.post_message(
        desk(),
        customer,
        text=body.text,
        uploads=files,
        client_id=client_id,
        named=Named(machine, body.attachments),
    )
    message = payloads.Message.of(posted.message)
    answer = schemas.PostedMessage(message=message, rejected_files=_rejected_files(posted.rejected))
    return (answer, 200) if posted.repeated else answer


@blueprint.post("/tickets/<public_id:ticket_id>/give-back")
@blueprint.output(payloads.Ticket)
@Operation("Tickets", Scope.TICKETS_WRITE)
def give_back(machine: MachinePrincipal, ticket_id: str) -> payloads.Ticket:
    """Let the assistant answer the customer again.

    It also answers what has been left open. The ticket is nobody's then. 409 if the conversation is closed, or on a
    channel where the assistant does not answer.
    """
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        conversations.give_back(session, state.lock_conversation(session, ticket.conversation_id))
    return shown_ticket(machine, ticket_id)


@blueprint.get("/tickets/<public_id:ticket_id>/triage")
@blueprint.output(payloads.Triage)
@Operation("Triage", Scope.TICKETS_READ, query=schemas.TriageQuery, runs_model=True)
def get_triage(machine: MachinePrincipal, query: schemas.TriageQuery, ticket_id: str) -> payloads.Triage:
    """Get the ticket's triage.

    404 until the ticket has been triaged, usually within seconds: `wait` for it.
    """

    def look() -> bool:
        with desk().db.read() as session:
            return tickets.load_ticket(session, machine, ticket_id).current_triage is not None

    until(machine, query.wait, look, bool)
    return triage.explain_ticket(desk(), machine, ticket_id) if query.explain else _triage(machine, ticket_id)


@blueprint.get("/tickets/<public_id:ticket_id>/similar")
@blueprint.output(payloads.Similar)
@Operation("Triage", Scope.TICKETS_READ)
def get_similar(machine: MachinePrincipal, ticket_id: str) -> payloads.Similar:
    """Get what the ticket has in common with others: the fault, photos that look alike, an outbreak."""
    with desk().db.read() as session:
        compared = Compared.of(session, access.access_ticket(session, machine, ticket_id))
        return outbreaks.show_similar(session, compared, Asking(machine, desk().taxonomy, desk().now()))


@blueprint.post("/tickets/<public_id:ticket_id>/notes")
@blueprint.output(payloads.Message, status_code=201)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.NewNote, makes=True)
def add_note(machine: MachinePrincipal, body: schemas.NewNote, once: Once | None, ticket_id: str) -> payloads.Message:
    """Add a note for agents, which the customer does not see."""
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        note = drafts.add_note(session, machine, ticket, body.text)
        if once is not None:
            idempotency.note(session, once, made=note.public_id, ticket_id=ticket.id)
        return payloads.Message.of(note)


@blueprint.post("/tickets/<public_id:ticket_id>/triage")
@blueprint.output(payloads.Triage)
@Operation("Triage", Scope.TICKETS_WRITE, runs_model=True)
def triage_ticket(machine: MachinePrincipal, ticket_id: str) -> payloads.Triage:
    """Triage the ticket now and wait for the result.

    Reads the photos and triages the customer's newest message, unless that has been done.
    """
    triage.triage_ticket(desk(), machine, ticket_id)
    return _triage(machine, ticket_id)


@blueprint.patch("/tickets/<public_id:ticket_id>/triage/<field>")
@blueprint.output(payloads.Triage)
@Operation("Triage", Scope.TICKETS_WRITE, body=schemas.FieldDecision, versioned=True)
def decide_triage_field(
    machine: MachinePrincipal, body: schemas.FieldDecision, expected: str | None, ticket_id: str, field: str
) -> payloads.Triage:
    """Accept or override a triage field."""
    if field not in FIELDS:
        raise NotFound(f"There is no triage field of that name. Choose from: {', '.join(FIELDS)}.")
    with desk().db.begin() as session:
        ticket = tickets.load_ticket(session, machine, ticket_id)
        tickets.require_version(session, ticket, expected)
        triage.decide_field(session, machine, ticket, field, taxonomy=desk().taxonomy, value=body.value)
    return _triage(machine, ticket_id)


@blueprint.get("/tickets/<public_id:ticket_id>/drafts")
@blueprint.output(schemas.Drafts)
@Operation("Drafts", Scope.TICKETS_READ)
def list_drafts(machine: MachinePrincipal, ticket_id: str) -> schemas.Drafts:
    """List the ticket's drafts, oldest first.

    There is one for each customer message that needs a person, unless it was answered or overtaken before that was
    ready; none until the first is ready.
    """
    return schemas.Drafts(drafts=shown_ticket(machine, ticket_id).drafts)


@blueprint.get("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>")
@blueprint.output(payloads.Draft)
@Operation("Drafts", Scope.TICKETS_READ)
def get_draft(machine: MachinePrincipal, ticket_id: str, draft_id: str) -> payloads.Draft:
    """Get a draft with its citations."""
    with desk().db.read() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        return payloads.Draft.of(drafts.access_draft(session, ticket, draft_id))


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/send")
@blueprint.output(schemas.SentDraft)
@Operation("Drafts", Scope.TICKETS_WRITE, body=schemas.DraftToSend, versioned=True)
def send_draft(
    machine: MachinePrincipal, body: schemas.DraftToSend, expected: str | None, ticket_id: str, draft_id: str
) -> schemas.SentDraft:
    """Send a draft to the customer, unchanged or edited.

    Sending it again changes nothing and returns what was sent.
    """
    conversations.check_text(desk(), body.text or "")
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        tickets.require_version(session, ticket, expected)
        draft = drafts.access_draft(session, ticket, draft_id)
        message = drafts.send_draft(session, machine, ticket, draft, text=body.text)
        return schemas.SentDraft(message=payloads.Message.of(message), draft=payloads.Draft.of(draft))


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/discard")
@blueprint.output(payloads.Draft)
@Operation("Drafts", Scope.TICKETS_WRITE)
def discard_draft(machine: MachinePrincipal, ticket_id: str, draft_id: str) -> payloads.Draft:
    """Discard a draft."""
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        draft = drafts.access_draft(session, ticket, draft_id)
        drafts.discard_draft(session, machine, ticket, draft)
        return payloads.Draft.of(draft)


@blueprint.post("/attachments")
@blueprint.output(schemas.UploadedFiles, status_code=201)
@Operation("Tickets", (Scope.TICKETS_WRITE, Scope.TRIAGE), files=True, makes=True)
def upload_attachments(machine: MachinePrincipal, files: Sequence[Upload], once: Once | None) -> schemas.UploadedFiles:
    """Upload files, to be named later as `attachments` of a ticket, a message or a triage.

    Send multipart/form-data with as many files as a message may have. Those that are not accepted are listed in
    `rejected_files`; if none is, the request is refused. Only your key sees them, for 24 hours. A ticket or message
    takes them, so each can be attached once; triage only reads them.
    """
    kept, rejected = uploads.keep(desk(), machine, files, once=once)
    return schemas.UploadedFiles(
        attachments=tuple(map(schemas.UploadedAttachment.kept, kept)), rejected_files=_rejected_files(rejected)
    )


@blueprint.get("/attachments/<public_id:attachment_id>")
@blueprint.doc(responses=_BYTES)
@Operation("Tickets", (Scope.TICKETS_READ, Scope.TICKETS_WRITE, Scope.TRIAGE), query=schemas.FileQuery)
def get_attachment(machine: MachinePrincipal, query: schemas.FileQuery, attachment_id: str) -> Response:
    """Get an attachment's bytes.

    Photos are JPEG or PNG; other files are sent as a download. The audit log tells, once a day, which key got what.
    Those of a ticket need `tickets:read`, those that your key has uploaded and not used any scope that may upload.
    """
    with desk().db.read() as session:
        upload = uploads.own(session, machine, attachment_id, now=desk().now())
        if upload is None:
            machine.require(Scope.TICKETS_READ)
        attachment = attached(upload) if upload else access.access_attachment(session, machine, attachment_id)
    response = attachment_response(desk(), attachment, thumbnail=query.thumbnail)
    if upload is None and not query.thumbnail:
        where = {"address": request.remote_addr or "unknown", "subject": attachment_id}
        audit.record_look(desk().db, machine, "attachment", now=desk().now(), **where)
    return response


@blueprint.delete("/attachments/<public_id:attachment_id>")
@blueprint.output({}, status_code=204)
@Operation("Tickets", (Scope.TICKETS_WRITE, Scope.TRIAGE))
def remove_attachment(machine: MachinePrincipal, attachment_id: str) -> Response:
    """Remove a file that your key has uploaded and not used."""
    with desk().db.read() as session:
        upload = uploads.own(session, machine, attachment_id, now=desk().now())
    if upload is None:
        raise NotFound("Your key has uploaded no such file, or a ticket or message has taken it.")
    uploads.remove(desk(), upload)
    return Response(status=204)


@blueprint.get("/attachments/<public_id:attachment_id>/compare/<public_id:other_id>")
@blueprint.output(payloads.Comparison)
@Operation("Tickets", Scope.TICKETS_READ, refuses=(409, 422))
def compare_photos(machine: MachinePrincipal, attachment_id: str, other_id: str) -> payloads.Comparison:
    """Compare two photos of one ticket: what has changed from the earlier to the later one.

    Lights, codes, condition and product are compared as they were read. The pictures are laid over each other, where
    they show one thing from a similar angle, and places that differ are boxed. Otherwise `reason` says why not. 409 if
    a photo has not been read yet.
    """
    return comparisons.compare(desk(), machine, attachment_id, other_id)


@blueprint.get("/attachments/<public_id:attachment_id>/compare/reference")
@blueprint.output(payloads.ReferenceComparison)
@Operation("Tickets", Scope.TICKETS_READ, refuses=(409, 422))
def compare_with_reference(machine: MachinePrincipal, attachment_id: str) -> payloads.ReferenceComparison:
    """Compare a photo with a reference photo of the own product in it: where it looks otherwise.

    The reference photo is the one that it is most like or, if that shows damage, an intact one of the same product.
    Whatever differs may be damage, but also a light, a label or something in front of it. Where the pictures cannot be
    laid over each other, `reason` says why not. 404, whose `detail` says which, if no own product was recognised in it
    by its looks or if that has no such reference photo; 409 if it has not been read yet.
    """
    return comparisons.compare_with_reference(desk(), machine, attachment_id)


@blueprint.patch("/attachments/<public_id:attachment_id>/evidence")
@blueprint.output(payloads.Evidence)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.EvidenceCorrection)
def correct_evidence(
    machine: MachinePrincipal, body: schemas.EvidenceCorrection, attachment_id: str
) -> payloads.Evidence:
    """Correct what was read in a photo.

    What was read is kept as `original`. Triage and draft of the ticket are made again; what agents decided stays.
    """
    lines = {line.index: line.text for line in body.lines}
    with desk().db.begin() as session:
        row = corrections.correct_evidence(
            session,
            machine,
            attachment_id,
            body.fields,
            lines=lines,
            everywhere=body.everywhere,
            taxonomy=desk().taxonomy,
        )
        photo = access.access_attachment(session, machine, attachment_id)
        return payloads.Evidence.stored(row, filename=photo.filename)


@blueprint.get("/attachments/<public_id:attachment_id>/questions")
@blueprint.output(schemas.PhotoQuestions)
@Operation("Tickets", Scope.TICKETS_READ)
def list_photo_questions(machine: MachinePrincipal, attachment_id: str) -> schemas.PhotoQuestions:
    """List what was asked about a photo, oldest first, with the answers."""
    with desk().db.read() as session:
        return schemas.PhotoQuestions(questions=tuple(photo_questions.asked_about(session, machine, attachment_id)))


@blueprint.post("/attachments/<public_id:attachment_id>/questions")
@blueprint.output(payloads.PhotoQuestion)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas.PhotoQuestionAsked, runs_model=True)
def ask_photo(
    machine: MachinePrincipal, body: schemas.PhotoQuestionAsked, attachment_id: str
) -> payloads.PhotoQuestion:
    """Ask something about a photo.

    It is answered from what was read in it (fields, visible text, own products), or by a model that looks, where one is
    installed; else the answer is `cannot tell`, with the reason. Question and answer are kept with the photo, the
    newest 50; the same question again is answered anew.
    """
    return photo_questions.ask(desk(), machine, attachment_id, body.question)


@blueprint.post("/triage")
@blueprint.output(payloads.Assessment)
@Operation("Triage", Scope.TRIAGE, body=schemas.Assessing, files=True, runs_model=True, stores=False)
def assess_ticket(machine: MachinePrincipal, body: schemas.Assessing, files: Sequence[Upload]) -> payloads.Assessment:
    """Read a ticket without storing it: evidence, triage, passages and a draft.

    Send JSON, or multipart/form-data with the same fields and `photos`. Photos that were uploaded before are named as
    `attachments`. With `deadline_seconds`, a late answer is none: 503 with the code `deadline`, at once where there is
    no time left to begin.
    """
    with desk().db.read() as session:
        inboxes.for_machine(session, machine, body.inbox)
        uploaded = uploads.find(session, machine, body.attachments, now=desk().now())
    with at_priority(body.priority.of_work), within(body.deadline_seconds):
        return assess(
            desk(),
            subject=body.subject,
            text=body.text,
            uploads=[*uploaded, *files],
            inbox=body.inbox,
            language=body.language,
            with_draft=body.with_draft,
            with_influences=body.explain,
            by=machine,
        )


@blueprint.get("/articles/search")
@blueprint.output(schemas.Passages)
@Operation("Knowledge", Scope.KNOWLEDGE_READ, query=schemas.ArticleQuery)
def search_articles(machine: MachinePrincipal, query: schemas.ArticleQuery) -> schemas.Passages:
    """Search the public articles for passages."""
    with desk().db.read() as session:
        if query.inbox is None and machine.inbox_ids is not None:
            raise Invalid("This key is for some inboxes only. Name the one whose articles you want.", field="inbox")
        inbox_id = inboxes.for_machine(session, machine, query.inbox).id if query.inbox is not None else None
    hits = knowledge.search_articles(
        desk().index, query.query, product=query.product, inbox_id=inbox_id, limit=query.limit
    )
    passages = tuple(payloads.Passage.of(hit.document) for hit in hits)
    return schemas.Passages(model=desk().index.embedding_model, mode=desk().capabilities.mode, passages=passages)


@blueprint.get("/figures/<public_id:figure_id>")
@blueprint.doc(responses=_BYTES)
@Operation("Knowledge", Scope.KNOWLEDGE_READ, query=schemas.FileQuery)
def get_figure(machine: MachinePrincipal, query: schemas.FileQuery, figure_id: str) -> Response:
    """Get the bytes of a public article's figure, as JPEG or PNG."""
    with desk().db.read() as session:
        figure = figures.get_figure(session, figure_id)
    return figure_response(desk(), figure, thumbnail=query.thumbnail)


@blueprint.get("/product-photos/<sha256>")
@blueprint.doc(responses=_BYTES)
@Operation("Knowledge", Scope.TICKETS_READ)
def get_product_photo(machine: MachinePrincipal, sha256: str) -> Response:
    """Get the bytes of a reference photo of an own product, as JPEG or PNG."""
    return photo_response(products.reference_photo(desk(), sha256))


@blueprint.get("/taxonomy")
@blueprint.output(schemas.TaxonomyValues)
@Operation("Triage", Scope.TRIAGE)
def get_taxonomy(machine: MachinePrincipal) -> schemas.TaxonomyValues:
    """Get the categories, teams and products, and the allowed values of every triage field."""
    taxonomy = desk().taxonomy
    return schemas.TaxonomyValues(
        categories=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.categories),
        teams=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.teams),
        products=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.products),
        allowed_values={name: allowed_values(taxonomy, name) for name in FIELDS},
    )


@blueprint.get("/fields")
@blueprint.output(schemas.CustomFields)
@Operation("Tickets", Scope.TICKETS_READ)
def list_fields(machine: MachinePrincipal) -> schemas.CustomFields:
    """List the custom fields that tickets have, beside those that all have."""
    with desk().db.read() as session:
        found = custom_fields.in_use(session)
    return schemas.CustomFields(
        fields=tuple(
            schemas.CustomField(key=one.key, name=one.name, kind=one.kind, choices=tuple(one.choices)) for one in found
        )
    )


@blueprint.get("/key")
@blueprint.output(schemas.Key)
@Operation("Keys", any_key=True)
def get_key(machine: MachinePrincipal) -> schemas.Key:
    """Get what your key may do.

    Any key that is accepted may ask.
    """
    with desk().db.read() as session:
        keys = inboxes.keys_of(session, machine.inbox_ids)
    return schemas.Key(
        name=machine.name,
        scopes=tuple(sorted(machine.scopes)),
        inboxes=tuple(keys),
        rate_limit=auth.rate_limit(),
    )


@blueprint.get("/openapi.json")
@blueprint.doc(hide=True)
def openapi() -> Response:
    return Response(json.dumps(openapi_document()), mimetype="application/json")


@blueprint.get("/docs")
@blueprint.doc(hide=True)
def docs() -> str:
    return render_template("api/docs.html", document=openapi_document())


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of this application."""
    prefix = request.script_root if has_request_context() else ""
    return {**_document(), "servers": [{"url": prefix}]} if prefix else _document()


@cache
def _document() -> dict[str, Any]:
    """Made once, for every application of the process: they have the same routes, and it takes half a second."""
    document: dict[str, Any] = current_app.spec  # type: ignore[attr-defined]
    return document


def _rejected_files(rejected: Iterable[RejectedFile]) -> tuple[payloads.RejectedFile, ...]:
    return tuple(payloads.RejectedFile.of(file.filename, file.error) for file in rejected)


def shown_ticket(machine: MachinePrincipal, ticket_id: str) -> payloads.Ticket:
    return _ticket_with_version(machine, ticket_id)[0]


def _ticket_with_version(machine: MachinePrincipal, ticket_id: str) -> tuple[payloads.Ticket, int, dict[str, str]]:
    """The whole ticket; without what people have written, if the key may change tickets and not read them."""
    with desk().db.read() as session:
        ticket = tickets.load_ticket(session, machine, ticket_id)
        shown = tickets.show_ticket(session, machine, ticket, desk().taxonomy)
        headers = {"ETag": f'"{shown.version}"'}
    return (shown if Scope.TICKETS_READ in machine.scopes else shown.without_words()), 200, headers


def _field_values(given: Mapping[str, str | float | None]) -> dict[str, str]:
    """As they are typed; null is none."""
    return {key: "" if value is None else str(value) for key, value in given.items()}


def _changes(body: schemas.TicketUpdate) -> list[dict[str, Any]]:
    """As actions. What is left out is none; null means none of it, or nobody."""
    named = {
        "status": ("set_status", "status"),
        "priority": ("set_priority", "priority"),
        "assignee_id": ("assign", "agent"),
        "team": ("transfer", "team"),
        "snoozed_until": ("snooze", "until"),
    }
    given = body.model_dump(mode="json", include=body.model_fields_set & named.keys())
    return [
        {"name": named[field][0], "arguments": {named[field][1]: value or ""}}
        for field, value in given.items()
        if value is not None or field not in ("status", "priority")
    ]


def _triage(machine: MachinePrincipal, ticket_id: str) -> payloads.Triage:
    """Without what people have written, if the key may change tickets and not read them."""
    with desk().db.read() as session:
        shown = triage.show_triage(session, machine, tickets.load_ticket(session, machine, ticket_id))
    return shown if Scope.TICKETS_READ in machine.scopes else shown.without_words()
