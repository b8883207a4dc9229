"""The scale of an embedder (see `assistant.ports.search`) where there are no passages to measure it on.

It is measured on sentences of our own, which are of no company's business. How alike texts of one trade are to an
embedder is not in them, so search measures on the knowledge base (`assistant.knowledge.indexing.calibrate`).
"""

from __future__ import annotations

import threading

import numpy as np

from assistant.ports import Embedder, Scale, calibrate

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
_known: dict[str, Scale] = {}


def usual_scale(embedder: Embedder) -> Scale:
    """The embedder's own scale, or the one measured on our sentences, once per process."""
    if embedder.scale is not None:
        return embedder.scale
    with _lock:
        if embedder.name not in _known:
            texts = embedder.embeddings.embed_documents([f"{heading}\n{text}" for heading, text in _PAGES])
            _known[embedder.name] = scale_of(embedder, [heading for heading, _ in _PAGES], np.asarray(texts))
        return _known[embedder.name]


def scale_of(embedder: Embedder, headings: list[str], passages: np.ndarray) -> Scale:
    """Measured on at least two headings as questions, and on the vectors (n, d) of the passages under them."""
    questions = np.asarray([embedder.embeddings.embed_query(heading) for heading in headings], dtype=np.float32)
    cosines = questions @ passages.T / np.linalg.norm(questions, axis=1, keepdims=True)
    own = np.eye(len(headings), dtype=bool)
    return calibrate(cosines[~own], cosines[own])
