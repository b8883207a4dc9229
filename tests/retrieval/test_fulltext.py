"""Words: any text may be searched for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.models import Visibility
from assistant.retrieval.fulltext import READ_AT_MOST, count, find, in_use, rarest
from assistant.retrieval.index import Filters, Index
from assistant.text.words import QUERY_WORDS, known_stems, query_words, stem, stems
from tests.factories import make_articles

EVERYTHING = Filters(visibilities=tuple(Visibility))


@pytest.fixture
def index(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Index:
    make_articles(desk, tmp_path_factory.mktemp("kb"))
    return desk.index


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.one_of(st.text(max_size=200), st.text(alphabet="\"'()*:^+-~{}\\/E21 ANDORNEARnot\0\ud800😀", max_size=80))
)
@example(query='" OR 1=1 -- * NEAR(a b, 2) {heading} : col^2')
@example(query="")
@example(query="_ __ \u200d 😀 ' \" ;")
@example(query="E21 " * 3000)
@example(query="w" * 10_000)
@example(query=" ".join(f"word{number}" for number in range(2000)))
@example(query="पानी की टंकी खाली है")
@example(query="水漏れ エラーE21")
def test_searching_for_any_text_never_raises(index: Index, query: str) -> None:
    hits = index.search(query, filters=EVERYTHING, limit=3)
    assert len(hits) <= 3
    assert all(0.0 <= hit.score <= 1.0 for hit in hits)


@pytest.mark.parametrize("query", ["E21", "e-21", "err 21!!", "display: E 21 ???", "エラーE21"])
def test_the_code_is_found_whatever_stands_around_it(index: Index, query: str) -> None:
    assert index.search(query)[0].codes == ("E21",)


def test_query_words_are_lower_case_and_once_and_without_stop_words() -> None:
    assert query_words("How do I reset the Reset button of my TV?") == ["reset", "button", "tv"]


def test_a_query_of_stop_words_only_is_searched_as_it_is() -> None:
    assert query_words("how is it") == ["how", "is", "it"]


def test_a_long_message_is_cut() -> None:
    assert len(query_words(" ".join(f"word{number}" for number in range(500)))) == QUERY_WORDS


def test_rare_words_are_searched_first_and_common_ones_as_far_as_it_goes() -> None:
    assert rarest({"the": READ_AT_MOST, "pump": 3, "zorblax": 0, "tank": 9}) == ["pump", "tank"]
    assert rarest({"the": READ_AT_MOST * 5}) == ["the"]
    assert rarest({"zorblax": 0}) == []


@pytest.mark.parametrize(
    ("forms", "other"), [(("pump", "pumps", "pumping", "pumped"), "pumpkin"), (("battery", "batteries"), "batter")]
)
def test_forms_of_a_word_share_a_stem(forms: tuple[str, ...], other: str) -> None:
    assert len({stem(form) for form in forms}) == 1
    assert stem(other) != stem(forms[0])


def test_words_in_code_and_scope_columns_are_not_counted_as_words(index: Index, db: Database) -> None:
    with db.read() as session:
        assert in_use(session, ["vpublic0", "pumps", "absent"]) == {"pumps"}
        assert count(session, ["vpublic0", "pump"], frequent={}, passages=9) == {"vpublic0": 0, "pump": 1}
        assert find(session, ["vpublic0", "len0"], filters=EVERYTHING, limit=5) == []


@given(passage=st.text(max_size=200), query=st.text(max_size=60))
def test_stemming_only_what_may_be_wanted_finds_the_same(passage: str, query: str) -> None:
    wanted = set(stems(query)) | set(stems(passage)[::3])
    found = known_stems(passage, wanted)
    assert [word if word in wanted else "" for word in found] == [
        word if word in wanted else "" for word in stems(passage)
    ]


def test_a_word_of_which_little_is_left_is_found() -> None:
    assert known_stems("singly", {stem("singly")}) == [stem("singly")]
