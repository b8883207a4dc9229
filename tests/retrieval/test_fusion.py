"""Fusion: what makes one passage better than another, in numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from assistant.retrieval import fusion
from assistant.text.words import stems

COUNTS = {"descale": 2, "coffee": 40, "machine": 60}


def _query(counts: dict[str, int] | None = None) -> fusion.QueryWords:
    return fusion.query_of(COUNTS if counts is None else counts, passages=100)


def _match(text: str, *, heading: str = "", query: fusion.QueryWords | None = None) -> float:
    return fusion.word_match(query or _query(), heading=stems(heading), text=stems(text)).match


def test_rarity_is_the_idf_of_bm25() -> None:
    assert _query().rarity["coffe"] == pytest.approx(math.log(1 + 60.5 / 40.5))


def test_a_word_that_no_passage_has_still_counts_as_missing() -> None:
    known = _query({"descale": 2})
    both = _query({"descale": 2, "zorblax": 0})
    assert _match("Descale it.", query=both) < 0.7 * _match("Descale it.", query=known)


def test_a_rare_word_tells_more_than_a_common_one() -> None:
    assert _match("how to descale") > _match("the machine")


def test_forms_of_a_word_match() -> None:
    assert _match("Descaling the coffees of machines") == pytest.approx(_match("Descale the coffee of machine"))
    assert _match("Nothing of the kind") == 0.0


def test_words_of_the_heading_count_as_words_of_the_passage() -> None:
    assert _match("Pour it in.", heading="Descale") == pytest.approx(_match("Descale: pour it in."))


def test_neighbours_in_the_question_count_more_as_neighbours() -> None:
    together = "Use it for the coffee machine, then clean. Descale often."
    apart = "Coffee first. Then clean it well, dry the machine. Descale often."
    assert _match(together) > _match(apart)


def test_a_match_is_a_share_between_0_and_1() -> None:
    text = "descale coffee machine " * 30
    assert 0.9 < _match(text, heading="Descale coffee machine") <= 1.0
    assert 0.0 <= _match("descale", query=_query({"descale": 1})) <= 1.0
    assert _match("anything", query=_query({})) == 0.0


def test_a_word_in_every_passage_tells_next_to_nothing() -> None:
    assert fusion.query_of({"the": 100}, passages=100).information < 0.01
    assert fusion.query_of({"the": 500}, passages=100).information >= 0.0  # counted before some were removed


def test_lead_is_0_without_and_1_with_a_certain_winner() -> None:
    assert fusion.lead(np.array([0.5] * 8)) == 0.0
    assert fusion.lead(np.array([1.0] + [0.2] * 8)) == pytest.approx(1.0)
    assert fusion.lead(np.array([0.4])) == 0.0
    assert fusion.lead(np.array([])) == 0.0


def _fused(**changes: Any) -> np.ndarray:
    arguments: dict[str, Any] = {
        "similarities": np.array([0.8, 0.5]),
        "headings": np.array([-1.0, -1.0]),
        "matches": [fusion.WordMatch(0.0, 0.0), fusion.WordMatch(0.6, 0.9)],
        "lead": 0.0,
        "bonuses": np.zeros(2),
    }
    return fusion.fuse(**(arguments | changes))


def test_words_decide_less_where_meaning_is_sure() -> None:
    unsure, sure = _fused(), _fused(lead=0.6)
    assert unsure[1] > unsure[0]
    assert sure[0] > sure[1]


def test_words_decide_less_where_no_passage_has_most_of_them() -> None:
    matches = [fusion.WordMatch(0.0, 0.0), fusion.WordMatch(0.3, 0.3)]
    spoken = [fusion.WordMatch(0.0, 1.0), fusion.WordMatch(0.3, 0.3)]
    unspoken, known = _fused(matches=matches), _fused(matches=spoken)
    assert known[1] - unspoken[1] > 0.1


def test_a_heading_near_the_question_lifts_its_passage_and_a_far_one_does_no_harm() -> None:
    plain, headed = _fused(lead=1.0), _fused(lead=1.0, headings=np.array([0.1, 0.9]))
    assert headed[1] > plain[1]
    assert headed[0] == plain[0]


def test_for_a_language_that_is_not_read_words_count_whatever_meaning_says() -> None:
    scores = _fused(reads=False, lead=1.0, matches=[fusion.WordMatch(0.0, 0.0), fusion.WordMatch(0.5, 0.5)])
    assert scores[1] > scores[0]


def test_words_that_are_foreign_are_not_missing() -> None:
    counts = {"wie": 0, "entkalke": 0, "brewmaster": 2}
    query = fusion.query_of(counts, passages=100, only_known=True)
    assert list(query.rarity) == ["brewmaster"]
    assert _match("The BrewMaster.", query=query) > 2 * _match("The BrewMaster.", query=_query(counts))


def test_scores_stay_between_0_and_1() -> None:
    scores = _fused(
        similarities=np.array([-0.5, 1.0]), matches=[fusion.WordMatch(1.0, 1.0)] * 2, bonuses=np.array([-1.0, 1.0])
    )
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0


def test_an_identifier_of_one_passage_comes_before_every_other_reason() -> None:
    scores = fusion.identifiers_first(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert scores[1] >= scores[0]


def test_an_identifier_counts_as_much_as_it_says() -> None:
    scores = fusion.identifiers_first(np.array([0.6, 0.4, 0.2]), np.array([0.0, 0.1, 0.1]))
    assert scores.tolist() == sorted(scores, reverse=True)
    both = fusion.identifiers_first(np.array([0.5, 0.5, 0.5]), np.array([1.0, 2.0, 0.0]))
    assert both.argsort().tolist() == [2, 0, 1]
    assert both.max() <= 1.0


def test_without_identifiers_scores_stay_as_they_are() -> None:
    scores = np.array([0.7, 0.1])
    assert fusion.identifiers_first(scores, np.zeros(2)).tolist() == scores.tolist()
