"""Answers: the skill over this desk's articles, and the citations of an answer as rows."""

from __future__ import annotations

from langchain_core.retrievers import BaseRetriever
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import guardrails, inboxes
from assistant.desk.desk import Desk
from assistant.models import Citation, Inbox, Passage, Visibility
from assistant.retrieval.context import NeighbourRetriever
from assistant.retrieval.index import Filters
from assistant.skills.answer import Answer, AnswerSkill

# Passages that an answer may cite.
PASSAGES = 8


def answer_skill(desk: Desk, inbox: Inbox) -> AnswerSkill:
    """The answer skill over what the inbox's customers may read: drafts are meant for them too."""
    filters = Filters(visibilities=(Visibility.PUBLIC,), inbox=inbox.id)
    retriever: BaseRetriever = desk.index.retriever(filters, limit=PASSAGES)
    if desk.capabilities.writes_answers:
        retriever = NeighbourRetriever(db=desk.db, inner=retriever)
    own = inboxes.settings_of(inbox)
    return AnswerSkill(
        desk.capabilities,
        retriever,
        desk.index.products_in,
        company=inboxes.brand(inbox, desk.settings),
        threshold=guardrails.threshold(own, desk.settings),
        tone=own.tone,
        never_say=own.never_say,
        context_tokens=desk.settings.context_tokens,
    )


def citation_rows(session: Session, answer: Answer) -> list[Citation]:
    """The answer's citations as rows that belong to no draft or message yet."""
    cited = {citation.passage_id for sentence in answer.sentences for citation in sentence.citations}
    passages = select(Passage.public_id, Passage.id).where(Passage.public_id.in_(cited))
    ids = dict(session.execute(passages).all())
    return [
        Citation(
            passage_id=ids.get(citation.passage_id),
            sentence_index=sentence.index,
            sentence=sentence.text,
            article_public_id=citation.article_id,
            article_title=citation.article_title,
            heading=citation.heading,
            quote=citation.quote,
            url=citation.url,
            page=citation.page,
            support=citation.support,
        )
        for sentence in answer.sentences
        for citation in sentence.citations
    ]
