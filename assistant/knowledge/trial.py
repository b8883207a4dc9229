"""Whether an article would answer questions, before anybody but its writer sees it.

The article is imported into a small database of its own, by the same import, with the scales that are measured on the
knowledge base. What is found there competes with what the knowledge base has, and the answer skill decides as it would
for a customer. Which words are rare is not known in a database of one article, so the figure may differ a little from
what it will be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from threading import Lock

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import make_transient

from assistant.db import Database, migrate
from assistant.desk.answers import PASSAGES, answer_skill
from assistant.desk.desk import Desk
from assistant.knowledge import embedding, figures, indexing
from assistant.knowledge.imports import Importer
from assistant.models import EmbeddingModel, Inbox, Visibility
from assistant.retrieval.index import Filters, Index, PassageRetriever
from assistant.retrieval.loaders import ArticleSource, Listing
from assistant.skills.answer_request import AnswerRequest

_SOURCE = "trial"
_making = Lock()


@dataclass(frozen=True)
class Tried:
    """What a question would be answered, and how sure; ``by_this``: by this article. Not ``answered``: a person would
    get it."""

    question: str
    answered: bool
    by_this: bool
    confidence: float
    text: str


def try_out(
    desk: Desk, article: ArticleSource, questions: Sequence[str], inbox: Inbox, *, replaced: str
) -> list[Tried]:
    """Ask the questions as the inbox's customers. ``replaced``: the id of the article that
    is served now of this one, which it would replace."""
    article = replace(article, inbox=None, visibility=Visibility.PUBLIC.value)
    with _database_of(desk, article) as database:
        own = Index(database, desk.embedders, product_names=desk.taxonomy.product_names)
        skill = answer_skill(desk, inbox)
        both = _Both(
            knowledge_base=desk.index.retriever(
                Filters(visibilities=(Visibility.PUBLIC,), inbox=inbox.id), limit=PASSAGES
            ),
            own=own.retriever(limit=PASSAGES),
            replaced=replaced,
        )
        asked = replace(skill, retriever=both)
        mine = {hit.document.metadata["article_id"] for hit in own.search(article.title, limit=1)}
        tried = []
        for question in questions:
            answer = asked.invoke(AnswerRequest(question))
            cited = {citation.article_id for sentence in answer.sentences for citation in sentence.citations}
            is_answered = bool(answer.sentences) and answer.handoff is None
            tried.append(Tried(question, is_answered, bool(cited & mine), answer.confidence, answer.text))
        return tried


class _Both(BaseRetriever):
    """What is found in the knowledge base, but for the article that is ``replaced``, and in the trial, by score."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    knowledge_base: PassageRetriever
    own: PassageRetriever
    replaced: str

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        products: Sequence[str] = (),
        photos: Sequence[bytes] = (),
    ) -> list[Document]:
        found = [one for one in self.knowledge_base.invoke(query, products=products) if self._stays(one)]
        found += self.own.invoke(query, products=products)
        return sorted(found, key=lambda one: -float(one.metadata["score"]))[: self.own.limit]

    def _stays(self, document: Document) -> bool:
        return bool(document.metadata["article_id"] != self.replaced)


@contextmanager
def _database_of(desk: Desk, article: ArticleSource) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        path = Path(folder) / "trial.db"
        with _making:
            path.write_bytes(_empty())
        database = Database(f"sqlite:///{path}")
        try:
            with desk.db.read() as session:
                models = session.scalars(select(EmbeddingModel)).all()
                session.expunge_all()
            with database.begin() as session:
                for model in models:
                    make_transient(model)
                    session.add(model)
            embedder = embedding.serving(desk)
            second = desk.embedders.second_to(embedder)
            listing = Listing()
            listing.add(article)
            keep = partial(figures.keep_picture, desk)
            Importer(database, _SOURCE, embedder, second=second, taxonomy=desk.taxonomy, keep_picture=keep).run(listing)
            for one in (embedder, second):
                if one is not None:
                    indexing.embed_headings(database, one)
                    indexing.embed_units(database, one)
            yield database
        finally:
            database.close()


@cache
def _empty() -> bytes:
    """An empty database, made once in a process."""
    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        path = Path(folder) / "empty.db"
        migrate(f"sqlite:///{path}")
        database = Database(f"sqlite:///{path}")
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return path.read_bytes()
