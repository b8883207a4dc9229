"""The help articles in the widget: search and reading.

They are open to everybody, so that a customer can look before saying anything: no session is begun for that. Public
articles of the inbox are found and no others.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from assistant import payloads
from assistant.desk import inboxes
from assistant.knowledge import articles
from assistant.retrieval.index import Filters
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.limits import address, limiter

blueprint = Blueprint("help", __name__)

_LONGEST_QUERY = 300


@blueprint.get("/articles")
@limiter.limit("60 per minute", key_func=address)
def search_articles() -> Response:
    """The articles for ``?query=``, best first; none for an empty one. ``language``: what the reader speaks."""
    query = storable(request.args.get("query", "")).strip()[:_LONGEST_QUERY]
    language = request.args.get("language", "").split("-")[0].lower() or None
    with desk().db.read() as session:
        filters = Filters(inbox=inboxes.find(session, auth.page_inbox()).id)
    hits = articles.find_articles(desk().index, query, filters, language=language)
    return jsonify({"articles": [payloads.FoundArticle.of(hit.document).to_json() for hit in hits]})


@blueprint.get("/articles/<public_id:article_id>")
@limiter.limit("120 per minute", key_func=address)
def get_article(article_id: str) -> Response:
    with desk().db.read() as session:
        inbox = inboxes.find(session, auth.page_inbox())
        article, sections = articles.read_article(session, article_id, inbox_id=inbox.id)
        shown = [
            payloads.ArticleSection(
                headings=section.headings,
                text=section.text,
                page=section.page,
                figures=tuple(payloads.Figure.of(figure) for figure in section.figures),
            )
            for section in sections
        ]
        return jsonify(payloads.Article.of(article, shown).to_json())
