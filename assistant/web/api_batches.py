"""The API's part for many tickets at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response, url_for

from assistant import payloads
from assistant.desk import batches, idempotency
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.idempotency import Once
from assistant.web import schemas
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation
from assistant.web.waiting import until


@blueprint.post("/triage/batch")
@blueprint.output(schemas.BatchStatus, status_code=202)
@Operation("Triage", Scope.TRIAGE, body=schemas.NewBatch, makes=True)
def add_batch(machine: MachinePrincipal, body: schemas.NewBatch, once: Once | None) -> Any:
    """Read up to 500 tickets without storing them, when nobody waits for an answer.

    Each is read as if it had been sent alone; one that fails says why. Photos are uploaded first, and named as
    `attachments`. Ask for progress with `wait`. What was sent and what came of it is removed a day after it is done, or
    by you.
    """
    items = [batches.Item(one.text, one.subject, one.reference, one.attachments, one.language) for one in body.tickets]
    deadline = timedelta(seconds=body.deadline_seconds) if body.deadline_seconds is not None else None
    with desk().db.begin() as session:
        batch = batches.add(
            session,
            machine,
            items,
            inbox=body.inbox,
            with_draft=body.with_draft,
            priority=body.priority.of_work,
            deadline=deadline,
        )
        if once is not None:
            idempotency.note(session, once, made=batch.public_id)
        status = _status(batches.find(session, machine, batch.public_id))
    return status, 202, {"Location": url_for(".get_batch", batch_id=status.id)}


@blueprint.get("/triage/batches/<public_id:batch_id>")
@blueprint.output(schemas.BatchStatus)
@Operation("Triage", Scope.TRIAGE, query=schemas.Waiting)
def get_batch(machine: MachinePrincipal, query: schemas.Waiting, batch_id: str) -> schemas.BatchStatus:
    """Get how far a batch is."""
    return until(machine, query.wait, lambda: _found(machine, batch_id), lambda seen: seen.finished_at is not None)


@blueprint.get("/triage/batches/<public_id:batch_id>/results")
@blueprint.output(schemas.BatchResults)
@Operation("Triage", Scope.TRIAGE, query=schemas.BatchQuery)
def list_batch_results(machine: MachinePrincipal, query: schemas.BatchQuery, batch_id: str) -> schemas.BatchResults:
    """List what is done of a batch."""
    with desk().db.read() as session:
        batch = batches.find(session, machine, batch_id).batch
        found = batches.results(session, batch, after=query.cursor, limit=query.limit + 1)
    page, more = found[: query.limit], len(found) > query.limit
    results = tuple(
        schemas.BatchResult(
            position=one.position,
            reference=one.reference,
            result=payloads.Assessment.model_validate(one.result) if one.result is not None else None,
            error=schemas.ItemError.model_validate(one.error) if one.error is not None else None,
        )
        for one in page
    )
    return schemas.BatchResults(results=results, next_cursor=page[-1].position if more else None)


@blueprint.delete("/triage/batches/<public_id:batch_id>")
@blueprint.output({}, status_code=204)
@Operation("Triage", Scope.TRIAGE)
def remove_batch(machine: MachinePrincipal, batch_id: str) -> Response:
    """Remove a batch with all that it says, done or not."""
    with desk().db.begin() as session:
        batches.remove(session, batches.find(session, machine, batch_id).batch)
    return Response(status=204)


def _found(machine: MachinePrincipal, batch_id: str) -> schemas.BatchStatus:
    with desk().db.read() as session:
        return _status(batches.find(session, machine, batch_id))


def _status(progress: batches.Progress) -> schemas.BatchStatus:
    batch = progress.batch
    return schemas.BatchStatus(
        id=batch.public_id,
        total=batch.total,
        done=progress.done,
        failed=progress.failed,
        jobs_ahead=progress.jobs_ahead,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
    )
