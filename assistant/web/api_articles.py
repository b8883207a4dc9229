"""The API's part for articles: those that are served, and those that are written here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response, url_for

from assistant import models, payloads
from assistant.desk import idempotency, inboxes, tickets
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.idempotency import Once
from assistant.errors import Invalid
from assistant.knowledge import articles, sources, writing
from assistant.knowledge.writing import Content
from assistant.web import auditing, schemas_admin
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation

_Body = schemas_admin.NewArticle | schemas_admin.ArticleUpdate


@blueprint.get("/articles")
@blueprint.output(schemas_admin.ArticlePage)
@Operation("Knowledge", Scope.KNOWLEDGE_READ, query=schemas_admin.ArticlesQuery)
def list_articles(machine: MachinePrincipal, query: schemas_admin.ArticlesQuery) -> schemas_admin.ArticlePage:
    """List the public articles, as they were changed: the last change comes last.

    What has been removed is not there any more, and nothing tells of it.
    """
    after = tickets.place_of(query.cursor) if query.cursor is not None else None
    with desk().db.read() as session:
        own = machine.inbox_ids
        if query.inbox is not None:
            own = frozenset({inboxes.for_machine(session, machine, query.inbox).id})
        found = articles.list_articles(
            session, inbox_ids=own, updated_since=query.updated_since, after=after, limit=query.limit + 1
        )
        page = found[: query.limit]
        shown = tuple(payloads.ArticleSummary.of(one, written_id=writing.written_id(one)) for one in page)
    cursor = tickets.cursor_at(page[-1].updated_at, page[-1].id) if len(found) > query.limit else None
    return schemas_admin.ArticlePage(articles=shown, next_cursor=cursor)


@blueprint.get("/articles/<public_id:article_id>")
@blueprint.output(payloads.Article)
@Operation("Knowledge", Scope.KNOWLEDGE_READ)
def get_article(machine: MachinePrincipal, article_id: str) -> payloads.Article:
    """Get a public article, by sections, with its figures."""
    with desk().db.read() as session:
        article, sections = articles.read_public_article(session, article_id, machine.inbox_ids)
        return payloads.Article.of(
            article,
            [
                payloads.ArticleSection(
                    headings=one.headings,
                    text=one.text,
                    page=one.page,
                    figures=tuple(map(payloads.Figure.of, one.figures)),
                )
                for one in sections
            ],
        )


@blueprint.get("/written-articles")
@blueprint.output(schemas_admin.WrittenPage)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, query=schemas_admin.WrittenQuery)
def list_written_articles(machine: MachinePrincipal, query: schemas_admin.WrittenQuery) -> schemas_admin.WrittenPage:
    """List the articles that are written here, in the order in which they were begun.

    Drafts and internal ones are included.
    """
    with desk().db.read() as session:
        found = writing.written_for(session, machine, after=query.cursor, limit=query.limit + 1)
        page = found[: query.limit]
        shown = tuple(payloads.WrittenSummary.of(one, **_beside(session, one)) for one in page)
    return schemas_admin.WrittenPage(
        articles=shown, next_cursor=page[-1].public_id if len(found) > query.limit else None
    )


@blueprint.post("/written-articles")
@blueprint.output(payloads.WrittenArticle, status_code=201)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, body=schemas_admin.NewArticle, makes=True)
def write_article(machine: MachinePrincipal, body: schemas_admin.NewArticle, once: Once | None) -> Any:
    """Write an article in Markdown: a draft, or with `publish` one that is served in a moment."""
    with desk().db.begin() as session:
        content = _content(session, machine, Content("", ""), body)
        written = writing.save(session, machine, content)
        if once is not None:
            idempotency.note(session, once, made=written.public_id)
        if body.publish:
            _publish(session, machine, written)
        auditing.record(session, machine, body, made=written.public_id)
        answer, _, headers = _shown(session, written)
    return answer, 201, {**headers, "Location": url_for(".get_written_article", written_id=answer.id)}


@blueprint.get("/written-articles/<public_id:written_id>")
@blueprint.output(payloads.WrittenArticle)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE)
def get_written_article(machine: MachinePrincipal, written_id: str) -> Any:
    """Get an article that is written here, as it was saved last.

    Send its `ETag` as `If-Match` with what changes it, and nobody's change is lost to another's.
    """
    with desk().db.read() as session:
        return _shown(session, writing.find_for(session, machine, written_id))


@blueprint.patch("/written-articles/<public_id:written_id>")
@blueprint.output(payloads.WrittenArticle)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, body=schemas_admin.ArticleUpdate, versioned=True)
def update_written_article(
    machine: MachinePrincipal, body: schemas_admin.ArticleUpdate, expected: str | None, written_id: str
) -> Any:
    """Save another version of an article, or with `publish` also serve it.

    What is served stays as it is until a version is published.
    """
    with desk().db.begin() as session:
        written = _to_change(session, machine, written_id, expected)
        content = _content(session, machine, writing.content_of(written.newest), body)
        writing.save(session, machine, content, public_id=written_id, based_on=written.newest.number)
        if body.publish:
            _publish(session, machine, written)
        auditing.record(session, machine, body)
        return _shown(session, written)


@blueprint.post("/written-articles/<public_id:written_id>/publish")
@blueprint.output(payloads.WrittenArticle)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, versioned=True)
def publish_written_article(machine: MachinePrincipal, expected: str | None, written_id: str) -> Any:
    """Serve an article as it was saved last.

    Where a model writes answers, what gives an AI orders is left out first, and named in `screened`.
    """
    with desk().db.begin() as session:
        written = _to_change(session, machine, written_id, expected)
        _publish(session, machine, written)
        auditing.record(session, machine)
        return _shown(session, written)


@blueprint.post("/written-articles/<public_id:written_id>/withdraw")
@blueprint.output(payloads.WrittenArticle)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, versioned=True)
def withdraw_written_article(machine: MachinePrincipal, expected: str | None, written_id: str) -> Any:
    """Serve an article no longer. It stays as a draft."""
    with desk().db.begin() as session:
        written = _to_change(session, machine, written_id, expected)
        writing.withdraw(session, machine, written)
        sources.request_written(session)
        auditing.record(session, machine)
        return _shown(session, written)


@blueprint.delete("/written-articles/<public_id:written_id>")
@blueprint.output({}, status_code=204)
@Operation("Knowledge", Scope.KNOWLEDGE_WRITE, versioned=True)
def remove_written_article(machine: MachinePrincipal, expected: str | None, written_id: str) -> Response:
    """Remove a draft with all its versions. 409 while it is published."""
    with desk().db.begin() as session:
        writing.remove(session, machine, _to_change(session, machine, written_id, expected))
        auditing.record(session, machine)
    return Response(status=204)


def _to_change(session: Any, machine: MachinePrincipal, written_id: str, expected: str | None) -> models.WrittenArticle:
    written = writing.find_for(session, machine, written_id)
    writing.require_version(session, written, expected)
    return written


def _content(
    session: Any,
    machine: MachinePrincipal,
    before: Content,
    body: schemas_admin.NewArticle | schemas_admin.ArticleUpdate,
) -> Content:
    """What is given in the place of what there was. Null is none, where there may be none."""
    given = {
        name: getattr(body, name) or "" for name in ("product", "language", "inbox") if name in body.model_fields_set
    }
    written = {name: value for name in ("title", "text", "visibility") if (value := getattr(body, name)) is not None}
    content = replace(before, **given, **written)
    products = [one.key for one in desk().taxonomy.products]
    if content.product not in ("", before.product, *products):  # one that has left the taxonomy may stay
        raise Invalid(
            f"There is no product {content.product[:40]!r}. Choose from: {', '.join(products)}.", field="product"
        )
    if machine.inbox_ids is not None and not content.inbox:
        raise Invalid("This key is for some inboxes only. Name the one whose customers may read it.", field="inbox")
    if content.inbox:
        inboxes.for_machine(session, machine, content.inbox)
    return content


def _publish(session: Any, machine: MachinePrincipal, written: models.WrittenArticle) -> None:
    writing.publish(session, machine, written)
    sources.request_written(session)


def _shown(session: Any, written: models.WrittenArticle) -> tuple[payloads.WrittenArticle, int, dict[str, str]]:
    answer = payloads.WrittenArticle.of(written, **_beside(session, written))
    return answer, 200, {"ETag": f'"{answer.version}"'}


def _beside(session: Any, written: models.WrittenArticle) -> dict[str, Any]:
    return {"served": writing.served(session, written), "author": writing.author(session, written.newest)}
