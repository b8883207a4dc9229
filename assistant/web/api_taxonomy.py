"""The API's part for the categories that triage chooses from: versions, the draft, and how it would fare."""

from __future__ import annotations

from typing import Any

from flask import Response

from assistant import payloads
from assistant.desk import category_trial, overlap, taxonomies
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.category_trial import Assigned
from assistant.desk.taxonomies import Version
from assistant.skills.taxonomy import Label
from assistant.web import auditing, schemas_admin
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.get("/taxonomy/versions")
@blueprint.output(schemas_admin.TaxonomyVersions)
@Operation("Settings", Scope.SETTINGS)
def list_taxonomy_versions(machine: MachinePrincipal) -> schemas_admin.TaxonomyVersions:
    """List the categories that counted, as versions: when they were published, and by whom."""
    with desk().db.read() as session:
        found = taxonomies.versions(session, desk().taxonomies.file)
        shown = tuple(payloads.TaxonomyVersion(**_about(one, found[0])) for one in found)
    return schemas_admin.TaxonomyVersions(versions=shown)


@blueprint.get("/taxonomy/versions/<int:version>")
@blueprint.output(payloads.TaxonomyVersionDetail)
@Operation("Settings", Scope.SETTINGS)
def get_taxonomy_version(machine: MachinePrincipal, version: int) -> payloads.TaxonomyVersionDetail:
    """Get a version with its categories."""
    return _shown(version)


@blueprint.post("/taxonomy/versions/<int:version>/restore")
@blueprint.output(payloads.TaxonomyDraft)
@Operation("Settings", Scope.SETTINGS, versioned=True)
def restore_taxonomy_version(machine: MachinePrincipal, expected: str | None, version: int) -> Any:
    """Bring the categories of a version back as a draft, to be published.

    409 if there is a draft, unless its `ETag` is sent as `If-Match`: then it is replaced.
    """
    file = desk().taxonomies.file
    with desk().db.begin() as session:
        taxonomies.require_revision(session, file, expected)
        taxonomies.restore(session, file, machine, version, replaces=expected is not None)
        auditing.record(session, machine)
    return _draft()


@blueprint.get("/taxonomy/draft")
@blueprint.output(payloads.TaxonomyDraft)
@Operation("Settings", Scope.SETTINGS)
def get_taxonomy_draft(machine: MachinePrincipal) -> Any:
    """Get the categories that are worked on; while nobody does, those that count.

    Send its `ETag` as `If-Match` with what changes it, and nobody's change is lost to another's.
    """
    return _draft()


@blueprint.put("/taxonomy/draft")
@blueprint.output(payloads.TaxonomyDraft)
@Operation("Settings", Scope.SETTINGS, body=schemas_admin.NewTaxonomyDraft, versioned=True)
def put_taxonomy_draft(machine: MachinePrincipal, body: schemas_admin.NewTaxonomyDraft, expected: str | None) -> Any:
    """Work on the categories: these take the place of the draft's, and count once they are published."""
    file = desk().taxonomies.file
    with desk().db.begin() as session:
        taxonomies.require_revision(session, file, expected)
        taxonomies.put_all(session, file, machine, [_label(one) for one in body.categories])
        auditing.record(session, machine, body)
    return _draft()


@blueprint.delete("/taxonomy/draft")
@blueprint.output({}, status_code=204)
@Operation("Settings", Scope.SETTINGS, versioned=True)
def discard_taxonomy_draft(machine: MachinePrincipal, expected: str | None) -> Response:
    """Discard the draft. The categories stay as they count."""
    with desk().db.begin() as session:
        taxonomies.require_revision(session, desk().taxonomies.file, expected)
        taxonomies.discard(session)
        auditing.record(session, machine)
    return Response(status=204)


@blueprint.post("/taxonomy/draft/publish")
@blueprint.output(payloads.TaxonomyVersionDetail)
@Operation("Settings", Scope.SETTINGS, versioned=True)
def publish_taxonomy_draft(machine: MachinePrincipal, expected: str | None) -> payloads.TaxonomyVersionDetail:
    """Triage new messages by the draft from now on.

    What has been triaged stays as it is. Other processes follow within half a minute. 409 if there is no draft.
    """
    with desk().db.begin() as session:
        taxonomies.require_revision(session, desk().taxonomies.file, expected)
        number = taxonomies.publish(session, machine)
        auditing.record(session, machine, made=str(number))
    desk().taxonomies.refresh()
    return _shown(number)


@blueprint.post("/taxonomy/draft/trial")
@blueprint.output(payloads.TaxonomyTrial)
@Operation("Settings", Scope.SETTINGS, body=schemas_admin.TrialWanted, runs_model=True, stores=False)
def try_taxonomy_draft(machine: MachinePrincipal, body: schemas_admin.TrialWanted) -> payloads.TaxonomyTrial:
    """Try the draft on past tickets: which would get another category, and how many agents would say are right.

    It may take half a minute for a hundred tickets.
    """
    trial = category_trial.try_out(desk(), _worked_on(), tickets=body.newest)
    now, then = trial.right
    return payloads.TaxonomyTrial(
        tickets=trial.looked_at,
        moved=tuple(
            payloads.MovedTicket(
                ticket=payloads.TicketReference.of(one.ticket),
                now=_assigned(one.now),
                then=_assigned(one.then),
            )
            for one in trial.moved
        ),
        decided=trial.decided,
        right_now=now,
        right_then=then,
        accuracy_now=now / trial.decided if trial.decided else None,
        accuracy_then=then / trial.decided if trial.decided else None,
    )


@blueprint.get("/taxonomy/draft/overlap")
@blueprint.output(payloads.Overlaps)
@Operation("Settings", Scope.SETTINGS, query=schemas_admin.OverlapQuery, runs_model=True)
def get_taxonomy_overlap(machine: MachinePrincipal, query: schemas_admin.OverlapQuery) -> payloads.Overlaps:
    """List which categories of the draft are hard to tell apart: by their words, and by what agents decided.

    Each pair is there twice, since one category may be taken for another more often than the other way round.
    """
    known, embedder = _worked_on(), desk().capabilities.embedder
    with desk().db.read() as session:
        found = overlap.overlap(session, known, embedder)[: query.limit]
    pairs = tuple(
        payloads.Overlap(
            category=one.key,
            other=one.other,
            by_words=one.by_words,
            sentences=tuple(payloads.ReadLike(text=text, probability=share) for text, share in one.sentences),
            by_agents=one.by_agents,
            decided=one.decided,
            proposed=one.proposed,
        )
        for one in found
    )
    return payloads.Overlaps(embedding_model=embedder.name, pairs=pairs)


def _worked_on() -> tuple[Label, ...]:
    with desk().db.read() as session:
        draft = taxonomies.draft(session, desk().taxonomies.file)
        return draft.categories if draft is not None else taxonomies.current(session, desk().taxonomies.file).categories


def _draft() -> tuple[payloads.TaxonomyDraft, int, dict[str, str]]:
    file = desk().taxonomies.file
    with desk().db.read() as session:
        draft = taxonomies.draft(session, file)
        counting = taxonomies.current(session, file).categories
        shown = payloads.TaxonomyDraft.of(
            draft.categories if draft is not None else counting,
            counting,
            exists=draft is not None,
            saved_at=draft.at if draft is not None else None,
            saved_by=draft.by if draft is not None else None,
        )
        return shown, 200, {"ETag": f'"{taxonomies.revision(session, file)}"'}


def _shown(number: int) -> payloads.TaxonomyVersionDetail:
    file = desk().taxonomies.file
    with desk().db.read() as session:
        found = taxonomies.versions(session, file)
        chosen = taxonomies.find_version(session, file, number)
        categories = tuple(map(payloads.Category.of, chosen.categories))
        return payloads.TaxonomyVersionDetail(**_about(chosen, found[0]), categories=categories)


def _about(version: Version, newest: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "published_at": version.at,
        "published_by": payloads.Editor.of(version.by) if version.by is not None else None,
        "is_current": version.number == newest.number,
    }


def _label(given: schemas_admin.NewCategory) -> Label:
    """As the console reads it: blanks are one, and an example is there once."""
    examples = tuple(dict.fromkeys(" ".join(one.split()) for one in given.examples))
    return Label(given.key, " ".join(given.name.split()), " ".join(given.description.split()), examples, given.team)


def _assigned(one: Assigned) -> payloads.AssignedCategory:
    return payloads.AssignedCategory(category=one.category, probability=one.probability)
