"""Neighbours: what stands around a passage comes with it, from the same article, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.desk.desk import Desk
from assistant.retrieval.context import NeighbourRetriever
from assistant.retrieval.index import Filters
from tests.factories import make_articles

PARTS = {"One": "Unscrew the lid.", "Two": "Pull the zebra lever.", "Three": "Put it back.", "Four": "Done."}
STEPS = "# Pump\n\n" + "\n\n".join(f"## {name}\n\n{text}" for name, text in PARTS.items())


@pytest.fixture
def retriever(desk: Desk, tmp_path: Path) -> NeighbourRetriever:
    secret = "---\nvisibility: internal\n---\n# Secret\n\nZebra."
    make_articles(desk, tmp_path / "kb", {"pump.md": STEPS, "other.md": "# Other\n\nNothing.", "secret.md": secret})
    return NeighbourRetriever(db=desk.db, inner=desk.index.retriever(Filters(), limit=1))


def test_the_passages_before_and_behind_come_with_what_was_found(retriever: NeighbourRetriever) -> None:
    found = retriever.invoke("zebra lever")
    assert [document.page_content for document in found] == [
        "Pull the zebra lever.",
        "Unscrew the lid.",
        "Put it back.",
    ]
    first, before, _ = found
    assert before.metadata["heading"] == "Pump > One"
    assert before.metadata["article_id"] == first.metadata["article_id"]
    assert before.metadata["passage_id"] == before.id != first.id
    assert (before.metadata["score"], before.metadata["codes"]) == (0.0, [])


def test_a_passage_that_was_found_itself_does_not_come_twice(desk: Desk, retriever: NeighbourRetriever) -> None:
    both = NeighbourRetriever(db=desk.db, inner=desk.index.retriever(Filters(), limit=8))
    ids = [document.id for document in both.invoke("lever lid")]
    assert len(ids) == len(set(ids))


def test_nothing_found_needs_no_neighbours(retriever: NeighbourRetriever) -> None:
    assert retriever.invoke("") == []
