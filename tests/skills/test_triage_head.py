"""The learned head on tickets made up of topic words: what it learns, how sure it is, what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.errors import Invalid
from assistant.skills.triage_head import Head, fit_head, fit_temperature
from tests.fakes import HashEmbeddings

TOPICS = {
    "billing": "invoice payment refund charged card money price receipt bill subscription".split(),
    "delivery": "parcel courier shipped tracking delayed address box arrived lost carrier".split(),
    "hardware": "pump motor light button cable battery screen noise leak broken".split(),
}
EMBEDDINGS = HashEmbeddings(64)


def tickets(per_label: int, *, seed: int, mixed: float = 0.2) -> tuple[list[str], list[str]]:
    """Six words each, some of another topic."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for label in TOPICS:
        for _ in range(per_label):
            topics = [str(random.choice(list(TOPICS))) if random.random() < mixed else label for _ in range(6)]
            texts.append(" ".join(str(random.choice(TOPICS[topic])) for topic in topics))
            labels.append(label)
    return texts, labels


def vectors(texts: list[str]) -> np.ndarray:
    return np.asarray(EMBEDDINGS.embed_documents(texts), dtype=np.float32)


@pytest.fixture(scope="module")
def head() -> Head:
    texts, labels = tickets(40, seed=1)
    return fit_head(texts, labels, embeddings=EMBEDDINGS)


def test_it_learns_and_every_row_of_probabilities_sums_to_one(head: Head) -> None:
    texts, labels = tickets(50, seed=2)
    probabilities = head.predict(texts, vectors(texts))
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    said = np.array(head.classes)[probabilities.argmax(axis=1)]
    assert (said == np.array(labels)).mean() > 0.9


def test_harder_tickets_are_answered_less_surely(head: Head) -> None:
    plain, mixed = tickets(30, seed=3, mixed=0.0)[0], tickets(30, seed=3, mixed=0.9)[0]
    sure = [head.predict(texts, vectors(texts)).max(axis=1).mean() for texts in (plain, mixed)]
    assert sure[0] > sure[1] + 0.1


def test_tickets_of_no_label_are_foreign(head: Head) -> None:
    own = tickets(30, seed=4)[0]
    other = ["The weather in the mountains is lovely today", "Sing us a song about seven sleepy sailors"]
    foreign = [head.is_foreign(head.predict(texts, vectors(texts)), vectors(texts)) for texts in (own, other)]
    assert foreign[0].mean() < 0.1
    assert foreign[1].all()


def test_what_is_kept_answers_as_what_was_fitted(head: Head) -> None:
    kept = Head.from_bytes(head.to_bytes())
    texts = tickets(10, seed=5)[0]
    assert kept.classes == head.classes
    assert np.allclose(kept.predict(texts, vectors(texts)), head.predict(texts, vectors(texts)), atol=5e-3)


def test_many_labels_are_learned_from_meaning_too() -> None:
    """A solver that stops at its first step for many classes leaves all weights at zero."""
    labels = [f"label{number}" for number in range(60) for _ in range(4)]
    texts = [f"topic{label} word{number % 4}" for number, label in enumerate(labels)]
    head = fit_head(texts, labels, embeddings=HashEmbeddings(256))
    assert np.abs(head.meaning.weights).max() > 0.1


def test_temperature_makes_overconfident_scores_honest() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 4000)
    honest = random.normal(size=(4000, 3)) + 1.5 * np.eye(3)[targets]
    temperature = fit_temperature(honest * 8, targets)
    assert temperature == pytest.approx(8 / 1.5, rel=0.1)  # log-odds of the mixture are 1.5 times the scores


def test_thirty_right_answers_do_not_make_the_next_one_certain() -> None:
    scores, targets = np.tile([1.0, 0.0], (30, 1)), np.zeros(30, dtype=int)
    odds = np.exp(1.0 / fit_temperature(scores, targets))
    assert odds / (1 + odds) == pytest.approx(31 / 32, abs=0.005)


@pytest.mark.parametrize("labels", [["a", "a"], ["a", "a", "b"], []])
def test_too_few_tickets_are_refused(labels: list[str]) -> None:
    with pytest.raises(Invalid, match="two labels with two tickets each"):
        fit_head(["text"] * len(labels), labels, embeddings=EMBEDDINGS)
