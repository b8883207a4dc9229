"""The API for machines: `/api/v1`, described by its OpenAPI document; and the health addresses beside it."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, TypeVar

from apiflask import APIBlueprint
from flask import Response, current_app, render_template, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from assistant.errors import Invalid, NotFound, Unsupported
from assistant.media import Upload
from assistant.models import ConversationState, Draft, Priority, Ticket, TicketStatus
from assistant.services import access, conversations, drafts, knowledge, tickets, triage
from assistant.services.access import CustomerPrincipal, MachinePrincipal, Scope
from assistant.services.assess import assess, rejected_json
from assistant.services.tickets import NewTicket, TicketFilters
from assistant.skills.taxonomy import Label
from assistant.skills.triage import FIELDS, allowed_values
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.responses import attachment_response
from assistant.web.schemas import (
    ArticleQuery,
    AssessmentOut,
    DraftDecision,
    DraftOut,
    FieldDecision,
    MessageIn,
    MessageOut,
    OpenedOut,
    PassagePage,
    PostedOut,
    TaxonomyOut,
    TicketChange,
    TicketIn,
    TicketOut,
    TicketPage,
    TicketQuery,
    TriageIn,
    TriageOut,
    draft_json,
    message_json,
    summary_json,
    ticket_json,
    triage_json,
)

blueprint = APIBlueprint("api", __name__, url_prefix="/api/v1")

Model = TypeVar("Model", bound=BaseModel)
Kind = TypeVar("Kind", bound=StrEnum)


@blueprint.post("/tickets")
@blueprint.output(OpenedOut, status_code=201)
@blueprint.doc(summary="Open a ticket", tags=["Tickets"])
def open_ticket() -> Any:
    """JSON, or multipart/form-data with the same fields and `photos`. With an `Idempotency-Key` header the same
    request opens one ticket however often it is sent; a repetition answers 200."""
    machine = auth.machine(Scope.TICKETS_WRITE)
    body = _body(TicketIn, nested={"requester": ("name", "email", "external_id")})
    new = NewTicket(
        subject=body.subject,
        text=body.text,
        requester_name=body.requester.name,
        requester_email=body.requester.email,
        requester_external_id=body.requester.external_id,
        uploads=_uploads(),
    )
    opened = tickets.open_ticket(desk(), machine, new, idempotency_key=_idempotency_key())
    with desk().db.read() as session:
        shown = ticket_json(session, tickets.load_ticket(session, machine, opened.ticket.public_id))
    answer = {**shown, "rejected": [rejected_json(file) for file in opened.rejected]}
    return (answer, 200, {"Idempotency-Replayed": "true"}) if opened.repeated else answer


@blueprint.get("/tickets")
@blueprint.output(TicketPage)
@blueprint.doc(summary="List tickets, newest first", tags=["Tickets"])
def list_tickets() -> Any:
    machine = auth.machine(Scope.TICKETS_READ)
    query = _query(TicketQuery)
    filters = TicketFilters(
        status=_several(query.status, TicketStatus, "status"),
        priority=_several(query.priority, Priority, "priority"),
        state=_several(query.state, ConversationState, "state"),
        category=query.category,
        product=query.product,
        team=query.team,
        assigned_to=query.agent_id,
        unassigned=query.unassigned,
        requester_email=query.requester_email,
        text=query.q,
    )
    with desk().db.read() as session:
        page = tickets.list_tickets(session, machine, filters, cursor=query.cursor, limit=query.limit)
        return {"tickets": [summary_json(ticket) for ticket in page.tickets], "next_cursor": page.cursor}


@blueprint.get("/tickets/<public_id:ticket_id>")
@blueprint.output(TicketOut)
@blueprint.doc(summary="A ticket with messages, evidence, triage and drafts", tags=["Tickets"])
def get_ticket(ticket_id: str) -> Any:
    machine = auth.machine(Scope.TICKETS_READ)
    with desk().db.read() as session:
        return ticket_json(session, tickets.load_ticket(session, machine, ticket_id))


@blueprint.patch("/tickets/<public_id:ticket_id>")
@blueprint.output(TicketOut)
@blueprint.doc(summary="Change status or agent", tags=["Tickets"])
def change_ticket(ticket_id: str) -> Any:
    machine = auth.machine(Scope.TICKETS_WRITE)
    change = _body(TicketChange)
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        if change.status is TicketStatus.SOLVED:
            tickets.solve(session, ticket)
        elif change.status is not None:
            tickets.set_status(session, ticket, change.status)
        if change.agent_id is not None:
            tickets.assign(session, ticket, change.agent_id or None)
    return get_ticket_json(machine, ticket_id)


@blueprint.post("/tickets/<public_id:ticket_id>/messages")
@blueprint.output(PostedOut, status_code=201)
@blueprint.doc(summary="Add what the customer wrote next", tags=["Tickets"])
def add_message(ticket_id: str) -> Any:
    """JSON, or multipart/form-data with the same fields and `photos`. A repeated `client_id` answers 200."""
    machine = auth.machine(Scope.TICKETS_WRITE)
    body = _body(MessageIn)
    with desk().db.read() as session:
        customer = CustomerPrincipal(access.access_ticket(session, machine, ticket_id).conversation_id)
    posted = conversations.post_message(
        desk(), customer, text=body.text, uploads=_uploads(), client_id=body.client_id
    )
    answer = {
        "message": message_json(posted.message, {}),
        "rejected": [rejected_json(file) for file in posted.rejected],
    }
    return (answer, 200) if posted.repeated else answer


@blueprint.get("/tickets/<public_id:ticket_id>/triage")
@blueprint.output(TriageOut)
@blueprint.doc(summary="The ticket's triage", tags=["Triage"])
def get_triage(ticket_id: str) -> Any:
    """404 until the ticket has been triaged, usually within seconds."""
    machine = auth.machine(Scope.TICKETS_READ)
    with desk().db.read() as session:
        shown = triage_json(tickets.load_ticket(session, machine, ticket_id))
    if shown is None:
        raise NotFound("This ticket has not been triaged yet. Please ask again in a moment.")
    return shown


@blueprint.patch("/tickets/<public_id:ticket_id>/triage/<name>")
@blueprint.output(TriageOut)
@blueprint.doc(summary="Accept or override a field of the triage", tags=["Triage"])
def decide_field(ticket_id: str, name: str) -> Any:
    machine = auth.machine(Scope.TICKETS_WRITE)
    decision = _body(FieldDecision)
    if name not in FIELDS:
        raise NotFound(f"There is no such triage field. Fields: {', '.join(FIELDS)}.")
    with desk().db.begin() as session:
        ticket = tickets.load_ticket(session, machine, ticket_id)
        triage.decide_field(session, machine, ticket, name, taxonomy=desk().taxonomy, value=decision.value)
    with desk().db.read() as session:
        return triage_json(tickets.load_ticket(session, machine, ticket_id))


@blueprint.get("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>")
@blueprint.output(DraftOut)
@blueprint.doc(summary="A draft with its citations", tags=["Drafts"])
def get_draft(ticket_id: str, draft_id: str) -> Any:
    machine = auth.machine(Scope.TICKETS_READ)
    with desk().db.read() as session:
        return draft_json(_draft(session, machine, ticket_id, draft_id))


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/send")
@blueprint.output(MessageOut)
@blueprint.doc(summary="Send a draft, as it is or edited", tags=["Drafts"])
def send_draft(ticket_id: str, draft_id: str) -> Any:
    machine = auth.machine(Scope.TICKETS_WRITE)
    decision = _body(DraftDecision)
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        draft = drafts.access_draft(session, ticket, draft_id)
        return message_json(drafts.send_draft(session, machine, ticket, draft, text=decision.text), {})


@blueprint.post("/tickets/<public_id:ticket_id>/drafts/<public_id:draft_id>/discard")
@blueprint.output(DraftOut)
@blueprint.doc(summary="Discard a draft", tags=["Drafts"])
def discard_draft(ticket_id: str, draft_id: str) -> Any:
    machine = auth.machine(Scope.TICKETS_WRITE)
    with desk().db.begin() as session:
        ticket = access.access_ticket(session, machine, ticket_id)
        draft = drafts.access_draft(session, ticket, draft_id)
        drafts.discard_draft(session, machine, ticket, draft)
        return draft_json(draft)


@blueprint.get("/attachments/<public_id:attachment_id>")
@blueprint.doc(summary="The bytes of an attachment", tags=["Tickets"])
def get_attachment(attachment_id: str) -> Response:
    """A photo as JPEG or PNG; anything else as a download. `?thumbnail=1` gives a small JPEG of a photo."""
    machine = auth.machine(Scope.TICKETS_READ)
    with desk().db.read() as session:
        attachment = access.access_attachment(session, machine, attachment_id)
    return attachment_response(desk(), attachment, thumbnail=request.args.get("thumbnail") == "1")


@blueprint.post("/triage")
@blueprint.output(AssessmentOut)
@blueprint.doc(summary="Read a ticket without storing it: evidence, triage, passages, draft", tags=["Triage"])
def assess_ticket() -> Any:
    """JSON, or multipart/form-data with the same fields and `photos`."""
    auth.machine(Scope.TRIAGE)
    body = _body(TriageIn)
    return assess(desk(), subject=body.subject, text=body.text, uploads=_uploads()).to_json()


@blueprint.get("/articles")
@blueprint.output(PassagePage)
@blueprint.doc(summary="Search the public articles", tags=["Knowledge"])
def search_articles() -> Any:
    auth.machine(Scope.KNOWLEDGE_READ)
    query = _query(ArticleQuery)
    hits = knowledge.search_articles(desk().index, query.q, product=query.product, limit=query.limit)
    return {"passages": [hit.to_json() for hit in hits]}


@blueprint.get("/taxonomy")
@blueprint.output(TaxonomyOut)
@blueprint.doc(summary="Categories, teams, products and the values of every field", tags=["Triage"])
def get_taxonomy() -> Any:
    auth.machine(Scope.TRIAGE)
    taxonomy = desk().taxonomy
    return {
        "categories": [_label_json(label) for label in taxonomy.categories],
        "teams": [_label_json(label) for label in taxonomy.teams],
        "products": [_label_json(label) for label in taxonomy.products],
        "fields": {name: list(allowed_values(taxonomy, name)) for name in FIELDS},
    }


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


def get_ticket_json(machine: MachinePrincipal, ticket_id: str) -> dict[str, Any]:
    with desk().db.read() as session:
        return ticket_json(session, tickets.load_ticket(session, machine, ticket_id))


def _draft(session: Any, machine: MachinePrincipal, ticket_id: str, draft_id: str) -> Draft:
    ticket: Ticket = access.access_ticket(session, machine, ticket_id)
    return drafts.access_draft(session, ticket, draft_id)


def _body(model: type[Model], *, nested: dict[str, tuple[str, ...]] | None = None) -> Model:
    """The request's JSON or form as ``model``. Any other content type is refused: a page of another site can send
    text/plain without asking the browser first. In a form, ``requester_name`` is ``requester.name``."""
    if request.mimetype == "application/json":
        data = _json()
    elif request.mimetype == "multipart/form-data":
        data = dict(request.form.items())
        for name, keys in (nested or {}).items():
            data[name] = {key: data.pop(f"{name}_{key}") for key in keys if f"{name}_{key}" in data}
    elif not request.get_data(cache=True) and not request.mimetype:
        data = {}
    else:
        raise Unsupported("Send application/json, or multipart/form-data with files.")
    return _validated(model, data)


def _json() -> dict[str, Any]:
    try:
        data = json.loads(request.get_data(cache=True) or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(data, dict):
        raise Invalid("The body must be a JSON object.")
    return data


def _query(model: type[Model]) -> Model:
    return _validated(model, request.args.to_dict())


def _validated(model: type[Model], data: dict[str, Any]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{field}: {first['msg']}." if field else f"{first['msg']}.", field=field or None) from error


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
    if key is not None and not 1 <= len(key) <= 200:
        raise Invalid("Idempotency-Key must have 1 to 200 characters.", field="Idempotency-Key")
    return key


def _label_json(label: Label) -> dict[str, str]:
    return {"key": label.key, "name": label.name, "description": label.description}
