"""The scale of an embedder (see `assistant.ports.search`) where there are no passages to measure it on.

It is measured on sentences of our own, which are of no company's business. How alike texts of one trade are to an
embedder is not in them, so search measures on the knowledge base (`assistant.knowledge.indexing.calibrate`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from assistant.ports import USUAL_STANDING, Embedder, Scale, Standing, calibrate

# Headings as somebody might ask for them, and what stands under them.
_PAGES = (
    ("Resetting the password", "Open your profile, choose Security and follow the link that we send you by e-mail."),
    ("Return of goods", "You may send back what you have bought within thirty days, unused and in its box."),
    ("Cleaning the filter", "Take the filter out, rinse it with warm water and let it dry before you put it back."),
    ("Invoices", "On the first day of each month a bill is sent to the address that you have given us."),
    ("Length of the warranty", "Faults of material and workmanship are repaired free of charge for three years."),
    (
        "Pairing with a phone",
        "Switch on Bluetooth, hold both buttons for five seconds and pick the device in the list.",
    ),
    ("Opening hours", "We are there from Monday to Friday between eight and six, except on public holidays."),
    ("Cancelling a subscription", "Your plan ends with the current period, and nothing more is charged after that."),
    ("Red light", "A lamp that glows red means that the battery is empty. Charge it for two hours."),
    ("Delivery abroad", "Parcels to other countries take five to ten days; customs duties are paid by the receiver."),
    ("Allergies", "The soup contains celery, mustard and milk. Traces of nuts cannot be ruled out."),
    ("Working from home", "Employees may stay away from the office on two days a week if their team agrees."),
    (
        "Exchange of a ticket",
        "A journey can be moved to another train until the evening before, for a fee of ten euros.",
    ),
    ("Noise of the engine", "A rattle while idling often comes from a loose heat shield above the exhaust."),
    ("Adding a colleague", "Administrators invite people under Members and decide what each of them may see."),
    ("Storing the vaccine", "Keep the vials between two and eight degrees and away from light. Do not freeze them."),
)
_lock = threading.Lock()
_known: dict[tuple[str, bool], Scale] = {}


def usual_scale(embedder: Embedder, *, asked: bool = False) -> Scale:
    """The embedder's own scale, or the one measured on our sentences, once per process: of texts among each other, or
    if ``asked`` of questions and passages, which some embedders treat differently."""
    if embedder.scale is not None:
        return embedder.scale
    with _lock:
        key = (embedder.name, asked)
        if key not in _known:
            passages = np.asarray(embedder.embeddings.embed_documents([f"{head}\n{text}" for head, text in _PAGES]))
            headings = [heading for heading, _ in _PAGES]
            embed = embed_questions if asked else _embed_texts
            _known[key] = scale_of(embed(embedder, headings), passages)
        return _known[key]


def embed_questions(embedder: Embedder, questions: Sequence[str]) -> np.ndarray:
    """(n, d) float32."""
    return np.asarray([embedder.embeddings.embed_query(question) for question in questions], dtype=np.float32)


def _embed_texts(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    return np.asarray(embedder.embeddings.embed_documents(list(texts)), dtype=np.float32)


def scale_of(headings: np.ndarray, passages: np.ndarray) -> Scale:
    """Measured on the vectors (n, d) of at least two headings and of the passages under them."""
    cosines = headings @ passages.T / np.linalg.norm(headings, axis=1, keepdims=True) / np.linalg.norm(passages, axis=1)
    own = np.eye(len(headings), dtype=bool)
    return calibrate(cosines[~own], cosines[own])


def standing_of(cosines: np.ndarray, own: np.ndarray) -> Standing:
    """``cosines`` (n, m) of n passages with m questions, and which of them are of the article that answers (bool).
    Questions without passages of both kinds do not count; if all are such, it is the usual standing."""
    counted = own.any(axis=0) & ~own.all(axis=0)
    if not counted.any():
        return USUAL_STANDING
    cosines, own = cosines[:, counted], own[:, counted]
    deviations = (cosines - cosines.mean(axis=0)) / np.maximum(cosines.std(axis=0), 1e-6)
    best_own, best_other = (np.where(these, deviations, -np.inf).max(axis=0) for these in (own, ~own))
    return Standing(float(best_own.mean()), float(best_other.mean()))
