"""Ranking: scores of candidates, from their texts and what the query asks for. The arithmetic is in `fusion`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.models import Passage
from assistant.retrieval import fusion
from assistant.retrieval.candidates import Candidates, Query
from assistant.retrieval.vectors import Vectors
from assistant.text.words import known_stems


@dataclass(frozen=True)
class CandidateText:
    """A candidate's heading, and the stems of its heading and text."""

    heading: str
    head: list[str]
    body: list[str]

    @cached_property
    def stems(self) -> set[str]:
        return {*self.head, *self.body}


def read_texts(session: Session, ids: Sequence[int], wanted: set[str]) -> dict[int, CandidateText]:
    """By passage id. Only stems that are ``wanted`` are kept."""
    columns = (Passage.id, Passage.heading, Passage.search_heading, Passage.text, Passage.search_text)
    return {
        passage_id: CandidateText(
            heading, known_stems(heading, wanted, searched=folded), known_stems(text, wanted, searched=searched)
        )
        for passage_id, heading, folded, text, searched in session.execute(select(*columns).where(Passage.id.in_(ids)))
    }


def score(
    vectors: Vectors,
    rows: np.ndarray,
    texts: Sequence[CandidateText],
    *,
    query: Query,
    candidates: Candidates,
    similarities: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(len(rows),) scores, 0 to 1. ``texts`` and ``similarities`` (of passages, of their headings) go with ``rows``."""
    alike = np.array([candidates.alike.get(row, 0.0) for row in rows.tolist()], dtype=np.float32)
    if not query.text:
        return alike
    reads = query.unread_language is None
    words = fusion.query_of(candidates.counts, passages=len(vectors), only_known=not reads)
    asked = candidates.asked
    bonuses = fusion.PICTURE_BONUS * alike + fusion.PRODUCT_BONUS * asked.preference(vectors, rows)
    identifiers = np.zeros(len(rows), dtype=np.float32)
    for one in asked.identifiers:
        says = one.says(rows)
        if one.sure:
            identifiers += says
        else:
            bonuses += fusion.NUMBER_BONUS * says
    scores = fusion.fuse(
        similarities=similarities[0],
        headings=similarities[1],
        matches=[fusion.word_match(words, heading=text.head, text=text.body) for text in texts],
        lead=candidates.lead,
        bonuses=bonuses,
        reads=reads,
    )
    return fusion.identifiers_first(scores, identifiers)
