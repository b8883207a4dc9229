"""The OpenAPI document: valid, complete, true. Schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import pytest
import schemathesis
from apiflask import APIFlask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import CHECKS
from schemathesis.generation.modes import GenerationMode
from sqlalchemy import delete, select

from assistant import payloads
from assistant.db import new_public_id
from assistant.desk import audit, custom_fields, macros, taxonomies, webhooks
from assistant.desk.desk import Desk
from assistant.models import Attachment, Batch, Evidence, HeadState, ProductPhoto, TriageHead
from assistant.skills.triage import Heads
from assistant.web.context import STOPPING
from assistant.worker import run_until_idle
from tests.conftest import LONG
from tests.factories import (
    Browser,
    make_agent,
    make_articles,
    make_figure,
    make_machine,
    make_photo,
    make_ticket,
    make_upload,
)

Document = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
# Whose changes the audit log tells.
NOTED = ("Settings", "Keys", "Webhooks", "Knowledge")
# Ends of the paths of what is done without a body.
BARE = (
    "/triage", "/discard", "/give-back", "/rotate", "/replay", "/revoke", "/restore", "/publish", "/roll-back",
    "/serve", "/withdraw", "/apply",
)  # fmt: skip


@pytest.fixture
def document(client: FlaskClient) -> Document:
    return client.get("/api/v1/openapi.json").json  # type: ignore[no-any-return]


def operations(document: Document) -> list[tuple[str, str, Document]]:
    return [
        (path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item
    ]


def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_described_and_nothing_else(app: APIFlask, document: Document) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if (rule.rule.startswith("/api/") or rule.endpoint.startswith(("health.", "metrics.")))
        and method not in ("HEAD", "OPTIONS")
    }
    routes -= {("/api/v1/openapi.json", "get"), ("/api/v1/docs", "get")}
    assert {(path, method) for path, method, _ in operations(document)} == routes


def test_every_operation_says_what_it_does_takes_and_refuses(document: Document) -> None:
    names = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"].endswith("."), where
        assert set(operation["tags"]) <= names, where
        if not path.startswith("/api/"):
            continue
        assert {"401", "429", "503"} <= set(operation["responses"]), where
        assert ("403" in operation["responses"]) == (path != "/api/v1/key"), where  # which any key may ask
        assert ("404" in operation["responses"]) == ("{" in path), where
        bare = path.endswith(BARE) and path not in ("/api/v1/triage", "/api/v1/keys/{key_id}/rotate")
        assert ("requestBody" in operation) == (method not in ("get", "delete") and not bare), where
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(operation["responses"]), where


def test_every_operation_has_a_name_and_every_model_one_component(
    document: Document,
) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert "openTicket" in names
    assert {"Ticket", "Message", "Draft", "Triage", "Evidence"} <= set(document["components"]["schemas"])
    assert not [name for name in document["components"]["schemas"] if "." in name]
    text = json.dumps(document)
    for name in set(re.findall(r'"\$ref": "([^"]*)"', text)):
        kind, _, model = name.removeprefix("#/components/").partition("/")
        assert model in document["components"].get(kind, {}), name


def test_refusals_are_problem_documents(document: Document) -> None:
    for name, response in document["components"]["responses"].items():
        assert list(response["content"]) == ["application/problem+json"], name
    assert "Retry-After" in document["components"]["responses"]["Problem429"]["headers"]


def test_a_key_is_asked_for_everywhere_but_at_the_health_addresses(document: Document) -> None:
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"]
    open_to_all = {path for path, _, operation in operations(document) if operation.get("security") == []}
    assert open_to_all == {"/livez", "/readyz"}


def test_the_host_header_does_not_get_into_the_document(client: FlaskClient) -> None:
    assert "evil.example" not in client.get("/api/v1/openapi.json", headers={"Host": "evil.example"}).text


def test_the_page_shows_every_operation_and_needs_no_other_site(client: FlaskClient, document: Document) -> None:
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "//" not in page.text.replace("URL=http://localhost", "").replace("https://shop.example/hook", "")
    for path, _, operation in operations(document):
        assert path in page.text
        assert operation["summary"] in page.text.replace("&#39;", "'")
    for name in ("requester_email", "Idempotency-Key", "probability", "unassigned"):
        assert name in page.text


@pytest.mark.slow
def test_every_sample_does_what_it_shows(
    app: APIFlask,
    client: FlaskClient,
    key: dict[str, str],
    known: Callable[[], dict[str, str]],
    document: Document,
    desk: Desk,
) -> None:
    app.extensions[STOPPING].set()  # streams end at once
    ids = known()
    for path, method, operation in sorted(operations(document), key=lambda one: one[1] != "get"):
        if path.endswith("/give-back"):
            ids["ticket_id"] = ticket_of_widget(client, key)
        if (method, path) == ("delete", "/api/v1/attachments/{attachment_id}"):
            ids["attachment_id"] = unused_upload(client, key)
        prepare(desk, path)
        (sample,) = operation["x-codeSamples"]
        variables = {name.upper(): value for name, value in ids.items()}
        variables |= {"URL": "http://localhost", "KEY": key["Authorization"].removeprefix("Bearer ")}
        response = send(client, Template(sample["source"].replace("\\\n", " ")).substitute(variables))
        assert response.status_code < 300, f"{sample['source']}: {response.text}"
        response.close()
        if method != "get" and operation["tags"][0] in NOTED:
            assert newest_noted(desk) == f"api.{snake_case(operation['operationId'])}" or path.endswith("/trial")
        if method != "get" and "{" in path:
            ids = known()  # what it was done to may not be as it was


def newest_noted(desk: Desk) -> str:
    """What the audit log told last."""
    with desk.db.read() as session:
        return audit.entries(session, limit=1)[0].action


def snake_case(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def prepare(desk: Desk, path: str) -> None:
    """What there must be for an operation to do anything."""
    if path.endswith("/publish"):
        work_on_categories(desk)
    elif "/heads/" in path:
        learn_priorities(desk, HeadState.SERVED if path.endswith("/roll-back") else HeadState.WAITING)


def learn_priorities(desk: Desk, state: HeadState) -> None:
    """A head that knows nothing, in this state, in the place of others."""
    figures = payloads.Figures(accuracy=0, calibration_error=0)
    trial = payloads.Trial(decisions=0, head=figures, before=figures, worse=False)
    with desk.db.begin() as session:
        session.execute(delete(TriageHead))
        session.add(
            TriageHead(
                field="priority",
                embedding_model=desk.capabilities.embedding_model,
                label_count=10,
                labels={"high": 10},
                payload=Heads().to_bytes(),
                state=state,
                trial=trial.model_dump(),
            )
        )


def work_on_categories(desk: Desk) -> None:
    """A draft of what counts."""
    machine = make_machine(desk.db)
    with desk.db.begin() as session:
        taxonomies.put_all(session, desk.taxonomies.file, machine, desk.taxonomy.categories)


def send(client: FlaskClient, command: str) -> Any:
    """As curl does."""
    curl = argparse.ArgumentParser()
    curl.add_argument("url")
    curl.add_argument("-X", default=None)
    for option in ("-H", "-F"):
        curl.add_argument(option, action="append", default=[])
    for option in ("-d", "-o"):
        curl.add_argument(option)
    curl.add_argument("-N", action="store_true")
    name, *words = shlex.split(command)
    assert name == "curl"
    given = curl.parse_args(words)
    fields = dict(one.split("=", 1) for one in given.F)
    data: Any = given.d
    if fields:
        files = {name: value[1:] for name, value in fields.items() if value.startswith("@")}
        data = fields | {field: (io.BytesIO(make_photo("x")), name) for field, name in files.items()}
    method = given.X or ("POST" if data else "GET")
    return client.open(given.url, method=method, headers=dict(one.split(": ", 1) for one in given.H), data=data)


# What the document promises, tried

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


@pytest.fixture
def known(client: FlaskClient, key: dict[str, str], desk: Desk, tmp_path: Path) -> Callable[[], dict[str, str]]:
    """Makes a worked ticket and tells its ids: what is generated must also get past the 404s."""
    make_articles(desk, tmp_path / "articles")
    figure_id = make_figure(desk, tmp_path / "manual")
    sha256 = desk.storage.put(make_photo("tent"))
    with desk.db.begin() as session:
        custom_fields.add(session, "Order", "text")
        photo = {"product": "tent", "sha256": sha256, "filename": "tent.jpg", "features": "colours"}
        session.add(ProductPhoto(**photo, text="", views=b""))

    def tell() -> dict[str, str]:
        ids = make_known(client, key, desk)
        recognise(desk, ids["attachment_id"], "tent", sha256)
        return {**ids, "figure_id": figure_id, "sha256": sha256}

    return tell


def recognise(desk: Desk, photo_id: str, product: str, sha256: str) -> None:
    """As if the photo had been found most like this reference photo of a product."""
    with desk.db.begin() as session:
        photo = session.scalars(select(Attachment).where(Attachment.public_id == photo_id)).one()
        for row in session.scalars(select(Evidence).where(Evidence.sha256 == photo.sha256)):
            row.fields = {**row.fields, "product": {**row.fields["product"], "value": product, "reference": sha256}}


def make_known(client: FlaskClient, key: dict[str, str], desk: Desk) -> dict[str, str]:
    with desk.db.begin() as session:
        session.execute(delete(Batch))
        for one in webhooks.all_webhooks(session):
            webhooks.remove(session, one)
        webhook_id = webhooks.add(session, desk.settings, url="https://127.0.0.1:9", kinds=["ticket.created"])[
            0
        ].public_id
    ticket = make_ticket(desk, uploads=[make_upload(), make_upload("later.jpg")])
    admin = make_agent(desk.db, new_public_id("agt"), admin=True).principal
    with desk.db.begin() as session:
        wanted = macros.MacroText("Urgent", "Hello", [{"name": "add_tag", "arguments": {"tag": "x"}}], macros.Scope.ALL)
        macro_id = macros.save(session, admin, wanted).public_id
    article = {"title": "E21", "text": "The pump draws no water."}
    run_until_idle(desk)
    deliveries = client.get(f"/api/v1/webhooks/{webhook_id}/deliveries", headers=key).json["deliveries"]
    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    return {
        "ticket_id": shown["id"],
        "draft_id": shown["drafts"][0]["id"],
        "attachment_id": shown["messages"][0]["attachments"][0]["id"],
        "other_id": shown["messages"][0]["attachments"][1]["id"],
        "field": "priority",
        "webhook_id": webhook_id,
        "batch_id": client.post("/api/v1/triage/batch", json={"tickets": [{"text": "x"}]}, headers=key).json["id"],
        "customer_id": shown["requester"]["id"],
        "delivery_id": deliveries[0]["id"],
        "key_id": client.post("/api/v1/keys", json={"name": "x", "scopes": ["triage"]}, headers=key).json["id"],
        "version": "0",  # of the categories: the file's
        "macro_id": macro_id,
        "written_id": client.post("/api/v1/written-articles", json=article, headers=key).json["id"],
        "article_id": client.get("/api/v1/articles", headers=key).json["articles"][0]["id"],
    }


def ticket_of_widget(client: FlaskClient, key: dict[str, str]) -> str:
    """The id of a ticket in whose conversation the assistant answers."""
    Browser(client, name="Rosa").say("It leaks.")
    newest = client.get("/api/v1/tickets", headers=key).json["tickets"][0]
    assert newest["channel"] == "widget"
    return str(newest["id"])


def unused_upload(client: FlaskClient, key: dict[str, str]) -> str:
    form = {"files": (io.BytesIO(make_photo("x")), "a.jpg")}
    return str(client.post("/api/v1/attachments", data=form, headers=key).json["attachments"][0]["id"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_fails_or_is_answered_otherwise_than_described(
    app: APIFlask,
    client: FlaskClient,
    key: dict[str, str],
    known: Callable[[], dict[str, str]],
    desk: Desk,
    mode: GenerationMode,
) -> None:
    app.extensions[STOPPING].set()  # nobody waits for what happens
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    statuses: dict[str, set[int]] = {}
    ids = known()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/give-back"):
            ids["ticket_id"] = ticket_of_widget(client, key)
        if operation.label == "DELETE /api/v1/attachments/{attachment_id}":
            ids["attachment_id"] = unused_upload(client, key)
        prepare(desk, operation.path)
        with contextlib.suppress(Unsatisfiable):  # it takes nothing that could be wrong
            statuses[operation.label] = exercise(operation, mode, ids=ids, headers=key)
        if operation.method != "get":
            ids = known()  # what it was done to may not be as it was

    assert len(statuses) >= (18 if mode is GenerationMode.POSITIVE else 10)
    if mode is GenerationMode.POSITIVE:
        never = {label for label, seen in statuses.items() if not any(status < 300 for status in seen)}
        assert never == set()


# Here nothing is required alone, but text or a file.
NOT_OF_NOTHING = ("POST /api/v1/tickets", "POST /api/v1/tickets/{ticket_id}/messages", "POST /api/v1/triage")


def exercise(operation: Any, mode: GenerationMode, *, ids: dict[str, str], headers: dict[str, str]) -> set[int]:
    """Send what is generated for an operation and check every answer. Returns the statuses that came."""
    checks, seen = CHECKS.get_by_names(CHECKED), set()
    headers = {**headers, "Accept-Encoding": "identity"}  # its client for WSGI unpacks nothing

    @settings(
        max_examples=12 if LONG else 8 if mode is GenerationMode.POSITIVE else 5,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        for name in case.path_parameters or {}:
            case.path_parameters[name] = ids[name]
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body = with_known_fields(case.body)
            if operation.label in NOT_OF_NOTHING:
                case.body.setdefault("text", "It leaks.")
        seen.add(case.call_and_validate(headers=headers, checks=checks).status_code)

    run()
    return seen


@pytest.mark.slow
def test_walks_through_the_api_meet_no_fault(
    app: APIFlask, client: FlaskClient, key: dict[str, str], known: Callable[[], dict[str, str]]
) -> None:
    """What one answer names is asked for, changed and removed by the next requests. Ten minutes of it: LONG=1."""
    app.extensions[STOPPING].set()
    ids = known()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    seen: Counter[tuple[str, int]] = Counter()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: schemathesis.Case) -> None:
            for name in set(case.path_parameters or {}) & set(ids):
                if not str(case.path_parameters[name]).startswith(ids[name][:4]):  # no answer has named it
                    case.path_parameters[name] = ids[name]
            if isinstance(case.body, dict):
                case.body = with_known_fields(case.body)

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"headers": {**key, "Accept-Encoding": "identity"}}

        def validate_response(self, response: Any, case: schemathesis.Case, **options: Any) -> None:
            seen[case.operation.label, response.status_code] += 1
            case.validate_response(response, checks=checks, transport_kwargs=options)

    of_walks = ("use_after_free", "ensure_resource_availability")
    # Whoever has no key is refused: that is tried above, where each request is made with and without.
    checks = CHECKS.get_by_names((*(name for name in CHECKED if name != "ignored_auth"), *of_walks))
    walks = settings(
        max_examples=20 if LONG else 4,
        stateful_step_count=12,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    ends_at, begun = time.monotonic() + (600 if LONG else 0), 0
    while begun == 0 or time.monotonic() < ends_at:
        begun += 1
        with contextlib.suppress(FlakyStrategyDefinition):  # where a walk can lead depends on what was made before
            Walk.run(settings=walks)
    reached = {label for label, status in seen if status < 300}
    assert len(reached) > 10


def with_known_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Nobody could guess which custom fields, inboxes, uploads and teams there are, or an address for webhooks."""
    categories = [{"key": key, "name": key, "description": key, "team": "technical"} for key in ("a", "b")]
    known = {"url": "https://shop.example/hook", "inboxes": ["default"], "categories": categories}
    # A deadline that is too short is a 503 on purpose.
    left_out = ("attachments", "deadline_seconds")
    body = {name: known.get(name, value) for name, value in body.items() if name not in left_out}
    if "tickets" in body:
        body["tickets"] = [{**one, "attachments": []} for one in body["tickets"]]
    if "decisions" in body:  # each about a ticket, by its number or by its id
        body["decisions"] = [{**one, "number": 1001, "ticket_id": None} for one in body["decisions"]]
    guessed = {name: value for name, value in body.items() if not name.startswith("fields.")}
    return {**guessed, "fields": {"order": "A-17"}} if "fields" in guessed else guessed


def test_what_was_described_is_what_a_form_takes(client: FlaskClient, key: dict[str, str], document: Document) -> None:
    form = document["paths"]["/api/v1/tickets"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    values = {"requester_email": "rosa@example.org", "inbox": "default", "language": "de"}
    data: dict[str, Any] = {name: values.get(name, "x") for name in form["properties"]}
    data["attachments"] = []
    data["photos"] = [(io.BytesIO(make_photo("x")), "a.jpg")]
    response = client.post("/api/v1/tickets", data=data, headers=key)
    assert response.status_code == 201, json.dumps(response.json)
