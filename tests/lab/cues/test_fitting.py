"""The example messages and the heads that are fitted on them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from assistant.lab.cues.examples import KINDS, SEEDS, Example, examples, languages, seeds
from assistant.lab.cues.fitting import by_language, by_seed, fit, prepare
from assistant.skills.cue_heads import OUTPUTS

TWELVE = {"en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ja", "zh", "ar"}


def test_every_language_has_every_kind() -> None:
    assert set(languages()) >= TWELVE
    for language in languages():
        lines, _ = seeds(SEEDS, language)
        assert set(lines) == set(KINDS), language
        assert all(lines.values())


def test_examples_are_thousands_and_reproducible() -> None:
    first, again = examples(), examples()
    assert first == again
    assert len(first) > 5000
    assert all(example.text.strip() for example in first)
    assert not any(mark in example.text for example in first for mark in "{}|")


@pytest.mark.parametrize(
    ("parts", "priority", "sentiment", "needs_human", "courtesy"),
    [
        (("thanks",), "low", "positive", "no", True),
        (("greeting", "fault", "thanks"), "normal", "neutral", "no", False),
        (("thanks", "danger"), "urgent", None, "yes", False),
        (("positive", "negative"), "high", "negative", "no", False),
        (("question", "bye"), "normal", "neutral", "no", False),
        (("greeting", "positive"), "low", "positive", "no", False),
    ],
)
def test_a_mail_is_what_its_weightiest_part_is(
    parts: tuple[str, ...], priority: str, sentiment: str | None, needs_human: str | None, courtesy: bool
) -> None:
    mail = Example("…", "en", "line", parts)
    assert (mail.label("priority"), mail.label("sentiment"), mail.label("needs_human")) == (
        priority, sentiment, needs_human,
    )  # fmt: skip
    assert mail.shows("courtesy") is courtesy


def test_no_fold_shares_a_seed_or_a_language_with_what_is_learned() -> None:
    made = examples()
    for fold in by_seed(made):
        held = set(fold.tolist())
        seen = {one.line for row, one in enumerate(made) if row not in held}
        assert seen.isdisjoint(made[row].line for row in held)
    for fold in by_language(made):
        assert len({made[row].language for row in fold}) == 1


@pytest.mark.slow
def test_fitted_heads_tell_what_they_were_shown() -> None:
    some = [one for one in examples() if one.language == "ko"]
    messages = prepare(some, None)
    heads = fit(messages)
    odds = np.array([heads.probabilities(heads.pieces([example.text])) for example in some])
    for cue in ("dangerous", "wants_person", "courtesy"):
        number = OUTPUTS.index(cue)
        assert roc_auc_score(messages.labels[:, number], odds[:, number]) > 0.95
