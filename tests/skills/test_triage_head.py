"""The learned head on tickets made up of topic words: what it learns, how sure it is, what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.errors import Invalid
from assistant.skills.scorer import Scorer, Tickets
from assistant.skills.triage_head import Fitted, Head, fit_head, fit_pool
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


def labelled(texts: list[str], labels: list[str]) -> Tickets:
    return Tickets.of(texts, vectors(texts), labels)


@pytest.fixture(scope="module")
def head() -> Head:
    return fit_head(labelled(*tickets(40, seed=1))).head


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
    meaning = Scorer.fit(labelled(texts, labels)).linears[1]
    assert np.abs(meaning.weights).max() > 0.1


EXAMPLES = labelled(
    ["invoice payment refund", "charged card money", "parcel courier shipped", "tracking box lost", "pump motor leak"],
    ["billing", "billing", "delivery", "delivery", "hardware"],
)


def described(texts: list[str]) -> np.ndarray:
    """(n, 3): what descriptions say of billing, delivery, hardware. They are unsure, but right."""
    found = np.array([[len(set(text.split()) & set(words)) for words in TOPICS.values()] for text in texts])
    shares: np.ndarray = np.exp(0.5 * found)
    return shares / shares.sum(axis=1, keepdims=True)


def everyday(per_label: int) -> Fitted:
    """Agents have decided tickets of billing and delivery, and not one of hardware."""
    pairs = [pair for pair in zip(*tickets(per_label, seed=6), strict=True) if pair[1] != "hardware"]
    texts, labels = (list(column) for column in zip(*pairs, strict=True))
    return fit_head(labelled(texts, labels), priors=described(texts), examples=EXAMPLES)


@pytest.mark.parametrize("per_label", [2, 5, 50])
def test_what_no_agent_has_decided_yet_is_still_found(per_label: int) -> None:
    head = everyday(per_label).head
    texts, labels = tickets(40, seed=7, mixed=0.3)
    before = described(texts).argmax(axis=1) == np.searchsorted(head.classes, labels)
    after = head.predict(texts, vectors(texts), described(texts)).argmax(axis=1) == np.searchsorted(
        head.classes, labels
    )
    for label in TOPICS:
        own = np.array(labels) == label
        assert after[own].mean() > before[own].mean() - 0.1


def test_one_ticket_is_refined_as_many_are() -> None:
    head = everyday(20).head
    text = "invoice payment refund parcel"
    prior = dict(zip(head.classes, described([text])[0], strict=True))
    refined, foreign = head.refine(prior, text, vectors([text])[0])
    assert list(refined.values()) == pytest.approx(
        head.predict([text], vectors([text]), described([text]))[0], abs=1e-6
    )
    assert not foreign


def test_an_option_newer_than_the_head_keeps_its_share_and_one_that_is_gone_has_none() -> None:
    head = everyday(20).head
    refined, _ = head.refine({"billing": 0.3, "delivery": 0.3, "recall": 0.4}, "invoice", vectors(["invoice"])[0])
    assert refined["recall"] == pytest.approx(0.4)
    assert set(refined) == {"billing", "delivery", "recall"}
    assert sum(refined.values()) == pytest.approx(1.0)


def test_held_back_tickets_are_judged_by_heads_that_have_not_seen_them() -> None:
    """Labels at random can be learned by heart, but not foreseen."""
    texts = [f"ticket number{number} word{number * 7}" for number in range(60)]
    labels = [str(label) for label in np.random.default_rng(0).permutation(["a", "b"] * 30)]
    fitted = fit_head(labelled(texts, labels))
    targets = np.searchsorted(fitted.head.classes, labels)
    assert sorted(fitted.rows) == list(range(60))
    assert (fitted.held_back.argmax(axis=1) == targets[fitted.rows]).mean() < 0.75
    assert fitted.held_back.max(axis=1).mean() < 0.75


def test_temperature_makes_overconfident_scores_honest() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 4000)
    honest = random.normal(size=(4000, 3)) + 1.5 * np.eye(3)[targets]
    pool = fit_pool((1.0, 0.0, 0.0), np.stack([honest * 8] * 3), np.ones((4000, 3)), targets)
    assert pool.temperature == pytest.approx(8 / 1.5, rel=0.1)  # log-odds of the mixture are 1.5 times the scores


def test_thirty_right_answers_do_not_make_the_next_one_certain() -> None:
    scores, targets = np.tile([1.0, 0.0], (3, 30, 1)), np.zeros(30, dtype=int)
    pool = fit_pool((1.0, 0.5, 2.0), scores, np.ones((30, 2)), targets)
    assert 0.8 < pool.probabilities(scores, np.ones((30, 2)))[0, 0] < 31 / 32 + 0.005


def test_the_prior_counts_as_much_as_decisions_say() -> None:
    targets = np.random.default_rng(0).integers(0, 2, 500)
    right = np.where(np.eye(2)[targets] == 1, 0.7, 0.3)
    weights = [
        fit_pool((1.0, 0.0, 0.0), np.zeros((3, 500, 2)), priors, targets).prior_weight for priors in (right, 1 - right)
    ]
    assert weights[0] > 1 > weights[1]


def test_nothing_is_learned_from_one_ticket_of_each_label_without_examples() -> None:
    with pytest.raises(Invalid, match="more than one ticket"):
        fit_head(labelled(["invoice", "parcel"], ["billing", "delivery"]))


@pytest.mark.parametrize("labels", [["a", "a"], ["a"], []])
def test_tickets_that_all_have_one_label_are_refused(labels: list[str]) -> None:
    with pytest.raises(Invalid, match="two different labels"):
        fit_head(Tickets.of(labels, np.zeros((len(labels), 64)), labels))
