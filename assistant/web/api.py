"""The API for machines: `/api/v1`, described by its OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

from apiflask import APIBlueprint
from flask import Response, current_app, render_template, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from assistant import payloads
from assistant.desk import access, conversations, drafts, tickets, triage
from assistant.desk.access import CustomerPrincipal, MachinePrincipal, Scope
from assistant.desk.assess import assess
from assistant.desk.attachments import RejectedFile
from assistant.desk.tickets import NewTicket, TicketFilters
from assistant.errors import Invalid, NotFound, Unsupported
from assistant.knowledge import articles as knowledge
from assistant.media.files import Upload
from assistant.models import ConversationState, Priority, TicketStatus
from assistant.skills.triage import FIELDS, allowed_values
from assistant.web import auth, schemas
from assistant.web.context import desk
from assistant.web.responses import attachment_response, figure_response

blueprint = APIBlueprint("api", __name__, url_prefix="/api/v1")

Model = TypeVar("Model", bound=BaseModel)
Kind = TypeVar("Kind", bound=StrEnum)

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_KINDS = ("image/jpeg", "image/png", "application/octet-stream")
_BYTES: dict[int | str, Any] = {200: {"description": "The bytes", "content": dict.fromkeys(_KINDS, _BINARY)}}
# Text without files. Twenty times the longest message: whatever is larger is no ticket.
_MAX_JSON_BYTES = 1_000_000
_KEY = re.compile(r"[!-~]{1,200}")
_JSON_ONLY = "Send application/json."
_JSON_OR_FORM = "Send application/json, or multipart/form-data with files."


@blueprint.post("/tickets")
@blueprint.output(schemas.OpenedTicket, status_code=201)
@blueprint.doc(tags=["Tickets"])
def open_ticket() -> Any:
    """Open a ticket.

    JSON, or multipart/form-data with the same fields (`requester_name` for `requester.name`) and `photos`.

    A file that cannot be taken is listed under `rejected` with its reason; the rest goes in. With an `Idempotency-Key`
    the same request opens one ticket however often it is sent; a repetition answers 200.
    """
    machine = auth.machine(Scope.TICKETS_WRITE)
    body = _body(schemas.NewTicket, with_files=True)
    new = NewTicket(
        subject=body.subject,
        text=body.text,
        requester_name=body.requester.name,
        requester_email=body.requester.email,
        requester_external_id=body.requester.external_id,
        uploads=_uploads(),
    )
    opened = tickets.open_ticket(desk(), machine, new, idempotency_key=_idempotency_key())
    shown = _ticket(machine, opened.ticket.public_id)
    answer = schemas.OpenedTicket(**dict(shown), rejected_files=_rejected_files(opened.rejected))
    return (answer, 200, {"Idempotent-Replayed": "true"}) if opened.repeated else answer


@blueprint.get("/tickets")
@blueprint.output(schemas.TicketPage)
@blueprint.doc(tags=["Tickets"])
def list_tickets() -> Any:
    """List tickets, newest first."""
    machine = auth.machine(Scope.TICKETS_READ)
    query = _query(schemas.TicketQuery)
    filters = TicketFilters(
        status=_several(query.status, TicketStatus, "status"),
        priority=_several(query.priority, Priority, "priority"),
        state=_several(query.conversation_status, ConversationState, "conversation_status"),
        category=query.category,
        product=query.product,
        team=query.team,
        assigned_to=query.assignee_id,
        unassigned=query.unassigned,
        requester_email=query.requester_email.lower() if query.requester_email else None,
        text=query.subject,
    )
    with desk().db.read() as session:
        page = tickets.list_tickets(
            session, machine, filters, cursor=query.cursor, limit=query.limit, with_fields=False
        )
        summaries = tuple(payloads.TicketSummary.of(ticket) for ticket in page.tickets)
        return schemas.TicketPage(tickets=summaries, next_cursor=page.cursor)


@blueprint.get("/tickets/<public_id:ticket_id>")
@blueprint.output(payloads.Ticket)
@blueprint.doc(tags=["Tickets"])
def get_ticket(ticket_id: str) -> Any:
    """A ticket with messages, evidence, triage and drafts."""
    return _ticket(auth.machine(Scope.TICKETS_READ), ticket_id)


@blueprint.patch("/tickets/<public_id:ticket_id>")
@blueprint.output(payloads.Ticket)
@blueprint.doc(tags=["Tickets"])
def change_ticket(ticket_id: str) -> Any:
    """Change status or agent."""
    machine = auth.machine(Scope.TICKETS_WRITE)
    change = _body(schemas.TicketChange)
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        if change.status is TicketStatus.SOLVED:
            tickets.solve(session, ticket)
        elif change.status is not None:
            tickets.set_status(session, ticket, change.status)
        if "assignee_id" in change.model_fields_set:
            tickets.assign(session, ticket, change.assignee_id)
    return _ticket(machine, ticket_id)


@blueprint.post("/tickets/<public_id:ticket_id>/messages")
@blueprint.output(schemas.PostedMessage, status_code=201)
@blueprint.doc(tags=["Tickets"])
def add_message(ticket_id: str) -> Any:
    """Add what the customer wrote next.

    JSON, or multipart/form-data with the same fields and `photos`. A repeated `external_id` answers 200.
    """
    machine = auth.machine(Scope.TICKETS_WRITE)
    body = _body(schemas.NewMessage, with_files=True)
    with desk().db.read() as session:
        customer = CustomerPrincipal(access.access_ticket(session, machine, ticket_id).conversation_id)
    posted = conversations.post_message(
        desk(), customer, text=body.text, uploads=_uploads(), client_id=body.external_id
    )
    message = payloads.Message.of(posted.message)
    answer = schemas.PostedMessage(message=message, rejected_files=_rejected_files(posted.rejected))
    return (answer, 200) if posted.repeated else answer


@blueprint.get("/tickets/<public_id:ticket_id>/triage")
@blueprint.output(payloads.Triage)
@blueprint.doc(tags=["Triage"])
def get_triage(ticket_id: str) -> Any:
    """The ticket's triage.

    404 until the ticket has been triaged, usually within seconds.
    """
    return _triage(auth.machine(Scope.TICKETS_READ), ticket_id)


@blueprint.post("/tickets/<public_id:ticket_id>/triage")
@blueprint.output(payloads.Triage)
@blueprint.doc(tags=["Triage"])
def triage_ticket(ticket_id: str) -> Any:
    """Triage the ticket now.

    Reads the photos and triages what the customer wrote last, if that has not been done, and answers with it.
    """
    machine = auth.machine(Scope.TICKETS_WRITE)
    triage.triage_ticket(desk(), machine, ticket_id)
    return _triage(machine, ticket_id)


@blueprint.patch("/tickets/<public_id:ticket_id>/triage/<name>")
@blueprint.output(payloads.Triage)
@blueprint.doc(tags=["Triage"])
def decide_field(ticket_id: str, name: str) -> Any:
    """Accept or override a field of the triage."""
    machine = auth.machine(Scope.TICKETS_WRITE)
    decision = _body(schemas.FieldDecision)
    if name not in FIELDS:
        raise NotFound(f"There is no such triage field. Fields: {', '.join(FIELDS)}.")
    with desk().db.begin() as session:
        ticket = tickets.load_ticket(session, machine, ticket_id)
        triage.decide_field(session, machine, ticket, name, taxonomy=desk().taxonomy, value=decision.value)
    return _triage(machine, ticket_id)


@blueprint.get("/tickets/<public_id:ticket_id>/drafts")
@blueprint.output(schemas.Drafts)
@blueprint.doc(tags=["Drafts"])
def list_drafts(ticket_id: str) -> Any:
    """The ticket's drafts, oldest first.

    One for every message of the customer that a person is to answer; empty until the first is written.
    """
    return schemas.Drafts(drafts=_ticket(auth.machine(Scope.TICKETS_READ), ticket_id).drafts)


@blueprint.get("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>")
@blueprint.output(payloads.Draft)
@blueprint.doc(tags=["Drafts"])
def get_draft(ticket_id: str, draft_id: str) -> Any:
    """A draft with its citations."""
    machine = auth.machine(Scope.TICKETS_READ)
    with desk().db.read() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        return payloads.Draft.of(drafts.access_draft(session, ticket, draft_id))


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/send")
@blueprint.output(schemas.SentDraft)
@blueprint.doc(tags=["Drafts"])
def send_draft(ticket_id: str, draft_id: str) -> Any:
    """Send a draft, as it is or edited.

    Sending it again changes nothing and answers with what was sent.
    """
    machine = auth.machine(Scope.TICKETS_WRITE)
    decision = _body(schemas.DraftDecision)
    conversations.check_text(desk(), decision.text or "")
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        draft = drafts.access_draft(session, ticket, draft_id)
        message = drafts.send_draft(session, machine, ticket, draft, text=decision.text)
        return schemas.SentDraft(message=payloads.Message.of(message), draft=payloads.Draft.of(draft))


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/discard")
@blueprint.output(payloads.Draft)
@blueprint.doc(tags=["Drafts"])
def discard_draft(ticket_id: str, draft_id: str) -> Any:
    """Discard a draft."""
    machine = auth.machine(Scope.TICKETS_WRITE)
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        draft = drafts.access_draft(session, ticket, draft_id)
        drafts.discard_draft(session, machine, ticket, draft)
        return payloads.Draft.of(draft)


@blueprint.get("/attachments/<public_id:attachment_id>")
@blueprint.doc(tags=["Tickets"], responses=_BYTES)
def get_attachment(attachment_id: str) -> Response:
    """The bytes of an attachment.

    A photo as JPEG or PNG; anything else as a download.
    """
    machine = auth.machine(Scope.TICKETS_READ)
    query = _query(schemas.AttachmentQuery)
    with desk().db.read() as session:
        attachment = access.access_attachment(session, machine, attachment_id)
    return attachment_response(desk(), attachment, thumbnail=query.thumbnail)


@blueprint.post("/triage")
@blueprint.output(payloads.Assessment)
@blueprint.doc(tags=["Triage"])
def assess_ticket() -> Any:
    """Read a ticket without storing it: evidence, triage, passages, draft.

    JSON, or multipart/form-data with the same fields and `photos`.
    """
    auth.machine(Scope.TRIAGE)
    body = _body(schemas.TicketText, with_files=True)
    return assess(desk(), subject=body.subject, text=body.text, uploads=_uploads())


@blueprint.get("/articles/search")
@blueprint.output(schemas.Passages)
@blueprint.doc(tags=["Knowledge"])
def search_articles() -> Any:
    """Search the public articles."""
    auth.machine(Scope.KNOWLEDGE_READ)
    query = _query(schemas.ArticleQuery)
    hits = knowledge.search_articles(desk().index, query.query, product=query.product, limit=query.limit)
    passages = tuple(payloads.Passage.of(hit.document) for hit in hits)
    return schemas.Passages(model=desk().index.embedding_model, mode=desk().capabilities.mode, passages=passages)


@blueprint.get("/figures/<public_id:figure_id>")
@blueprint.doc(tags=["Knowledge"], responses=_BYTES)
def get_figure(figure_id: str) -> Response:
    """The bytes of a public article's figure, as JPEG or PNG."""
    auth.machine(Scope.KNOWLEDGE_READ)
    query = _query(schemas.AttachmentQuery)
    with desk().db.read() as session:
        figure = knowledge.get_figure(session, figure_id)
    return figure_response(desk(), figure, thumbnail=query.thumbnail)


@blueprint.get("/taxonomy")
@blueprint.output(schemas.TaxonomyValues)
@blueprint.doc(tags=["Triage"])
def get_taxonomy() -> Any:
    """Categories, teams, products and the values of every field."""
    auth.machine(Scope.TRIAGE)
    taxonomy = desk().taxonomy
    return schemas.TaxonomyValues(
        categories=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.categories),
        teams=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.teams),
        products=tuple(schemas.TaxonomyLabel.of(label) for label in taxonomy.products),
        allowed_values={name: allowed_values(taxonomy, name) for name in FIELDS},
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
    document: dict[str, Any] = current_app.spec  # type: ignore[attr-defined]
    return document


def _rejected_files(rejected: Iterable[RejectedFile]) -> tuple[payloads.RejectedFile, ...]:
    return tuple(payloads.RejectedFile.of(file.filename, file.error) for file in rejected)


def _ticket(machine: MachinePrincipal, ticket_id: str) -> payloads.Ticket:
    with desk().db.read() as session:
        return tickets.show_ticket(session, tickets.load_ticket(session, machine, ticket_id), desk().taxonomy)


def _triage(machine: MachinePrincipal, ticket_id: str) -> payloads.Triage:
    with desk().db.read() as session:
        triage = tickets.load_ticket(session, machine, ticket_id).current_triage
    if triage is None:
        raise NotFound("This ticket has not been triaged yet. Please ask again in a moment.")
    return payloads.Triage.of(triage)


def _body(model: type[Model], *, with_files: bool = False) -> Model:
    """The request's JSON, or form where ``with_files``, as ``model``; no body at all is an empty object.

    Any other content type is refused: a page of another site can send text/plain without asking the browser first.
    """
    if with_files and request.mimetype == "multipart/form-data":
        return _validated(model, _form())
    if request.mimetype == "application/json" or (not request.mimetype and not request.content_length):
        return _validated(model, _json())
    raise Unsupported(_JSON_OR_FORM if with_files else _JSON_ONLY)


def _json() -> dict[str, Any]:
    request.max_content_length = _MAX_JSON_BYTES
    body = request.get_data(cache=False)
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(data, dict):
        raise Invalid("The body must be a JSON object.")
    return data


def _form() -> dict[str, Any]:
    """The form's fields; what belongs to the requester, ``requester_name`` and its like, as the JSON has it."""
    data: dict[str, Any] = {}
    for name, value in request.form.items():
        if not name:  # None where a part of the form has no name
            raise Invalid("Every part of the form needs a name.")
        owner, _, part = name.partition("_")
        if owner == "requester":
            data.setdefault(owner, {})[part] = value
        else:
            data[name] = value
    return data


def _query(model: type[Model]) -> Model:
    return _validated(model, request.args.to_dict())


def _validated(model: type[Model], data: dict[str, Any]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:100]
        reason = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{field}: {reason}.", field=field or None) from error


def _several(value: str | None, kind: type[Kind], name: str) -> tuple[Kind, ...]:
    """A comma-separated list of an enumeration's values."""
    try:
        return tuple(kind(part.strip()) for part in value.split(",")) if value else ()
    except ValueError as error:
        options = ", ".join(option.value for option in kind)
        raise Invalid(f"{name}: choose from {options}.", field=name) from error


def _uploads() -> tuple[Upload, ...]:
    """Every file of the form, whatever its field is called: none is silently dropped."""
    return tuple(
        Upload(file.filename or "photo", file.mimetype or None, file.read())
        for _, file in request.files.items(multi=True)
    )


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("Idempotency-Key: 1 to 200 visible ASCII characters.", field="Idempotency-Key")
    return key
