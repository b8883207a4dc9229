"""The passages around those that were found, so that a model that writes an answer sees how a procedure continues.

Quoted answers need no context and do without. Neighbours belong to the same article, so nobody sees what they may not;
each follows the passage it belongs to, without a score of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import aliased

from assistant.db import Database
from assistant.models import Passage

# Only the first passages get neighbours: answers are seldom based on later ones.
_FIRST = 3


class NeighbourRetriever(BaseRetriever):
    """What ``inner`` finds, with the passages before and after each of the first few."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    db: Database
    inner: BaseRetriever

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        products: Sequence[str] = (),
        photos: Sequence[bytes] = (),
    ) -> list[Document]:
        found = self.inner.invoke(query, products=products, photos=photos)
        neighbours = _neighbours(self.db, [str(document.id) for document in found[:_FIRST]])
        seen = {document.id for document in found}
        documents = []
        for document in found:
            documents.append(document)
            for neighbour in neighbours.get(str(document.id), ()):
                if neighbour.public_id not in seen:
                    seen.add(neighbour.public_id)
                    documents.append(_document(neighbour, document))
        return documents


def _neighbours(db: Database, passage_ids: list[str]) -> dict[str, list[Passage]]:
    """Public id to neighbours in reading order, with one statement."""
    other = aliased(Passage)
    near = or_(other.position == Passage.position - 1, other.position == Passage.position + 1)
    query = (
        select(Passage.public_id, other.public_id, other.heading, other.text)
        .join(other, and_(other.article_id == Passage.article_id, near))
        .where(Passage.public_id.in_(passage_ids))
        .order_by(other.position)
    )
    found: dict[str, list[Passage]] = {}
    with db.read() as session:
        for passage_id, public_id, heading, text in session.execute(query):
            found.setdefault(passage_id, []).append(Passage(public_id=public_id, heading=heading, text=text))
    return found


def _document(neighbour: Passage, found: Document) -> Document:
    own = {"passage_id": neighbour.public_id, "heading": neighbour.heading}
    nothing: dict[str, Any] = {"score": 0.0, "similarity": None, "words": [], "codes": [], "resemblance": None}
    metadata = {**found.metadata, **own, **nothing}
    return Document(page_content=neighbour.text, id=neighbour.public_id, metadata=metadata)
