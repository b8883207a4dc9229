"""The API's part for many decisions at once: what agents said elsewhere, and what photos really show."""

from __future__ import annotations

from assistant.desk import bulk
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.bulk import Correction, Decision
from assistant.errors import AssistantError
from assistant.web import schemas, schemas_admin
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.post("/triage/decisions")
@blueprint.output(schemas_admin.DecisionResults)
@Operation("Triage", Scope.TICKETS_WRITE, body=schemas_admin.NewDecisions)
def decide_triage_fields(machine: MachinePrincipal, body: schemas_admin.NewDecisions) -> schemas_admin.DecisionResults:
    """Accept or override up to 500 triage fields.

    Each succeeds or fails by itself. Triage learns from them as from those of agents. What is decided so already is no
    change, so it does no harm to send them again.
    """
    outcomes = bulk.decide(desk(), machine, [_decision(one) for one in body.decisions])
    results = tuple(
        schemas_admin.DecisionResult(
            position=at,
            ticket_id=one.ticket.public_id if one.ticket is not None else None,
            number=one.ticket.number if one.ticket is not None else None,
            field=given.field,
            value=one.value,
            status=one.state,
            error=_problem(one.error),
        )
        for at, (given, one) in enumerate(zip(body.decisions, outcomes, strict=True))
    )
    return schemas_admin.DecisionResults(failed=sum(one.error is not None for one in results), results=results)


@blueprint.post("/evidence/corrections")
@blueprint.output(schemas_admin.CorrectionResults)
@Operation("Tickets", Scope.TICKETS_WRITE, body=schemas_admin.NewCorrections)
def correct_all_evidence(
    machine: MachinePrincipal, body: schemas_admin.NewCorrections
) -> schemas_admin.CorrectionResults:
    """Correct what was read in up to 100 photos.

    Each succeeds or fails by itself, as if it had been sent alone. Triage and draft of their tickets are made again.
    """
    wanted = [
        Correction(one.attachment_id, one.fields, {line.index: line.text for line in one.lines}, one.everywhere)
        for one in body.corrections
    ]
    errors = bulk.correct(desk(), machine, wanted)
    results = tuple(
        schemas_admin.CorrectionResult(position=at, attachment_id=one.attachment_id, error=_problem(error))
        for at, (one, error) in enumerate(zip(body.corrections, errors, strict=True))
    )
    return schemas_admin.CorrectionResults(failed=sum(one.error is not None for one in results), results=results)


def _decision(given: schemas_admin.NewDecision) -> Decision:
    expected = given.if_match.strip('"') if given.if_match is not None else None
    return Decision(given.field, given.value, given.ticket_id, given.number, expected)


def _problem(error: AssistantError | None) -> schemas.ItemError | None:
    return schemas.ItemError(code=error.code, status=error.status, detail=error.message) if error is not None else None
