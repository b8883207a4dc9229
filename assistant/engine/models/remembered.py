"""Vectors of texts that were embedded lately: one message is asked about by triage, its heads, search and answers.

Texts of several messages that are embedded together take half the time (`skills.triage.foresee`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

_MOST = 2_000  # texts; of 384 dimensions, Python's floats: about 25 MB
_AT_ONCE = 500  # more than a message has: an import, which asks for nothing twice


class Remembered(Embeddings):
    """Embeddings that embed no text twice in a short time. Thread-safe. Two threads that ask for the same text at once
    may both embed it."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._known: OrderedDict[tuple[bool, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if len(texts) > _AT_ONCE:
            return self._embeddings.embed_documents(texts)
        known = self._look_up([(False, text) for text in texts])
        missing = list(dict.fromkeys(text for text in texts if (False, text) not in known))
        if missing:
            made = zip(missing, self._embeddings.embed_documents(missing), strict=True)
            known |= self._keep({(False, text): vector for text, vector in made})
        return [known[False, text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        key = (True, text)
        known = self._look_up([key]) or self._keep({key: self._embeddings.embed_query(text)})
        return known[key]

    def _look_up(self, keys: Sequence[tuple[bool, str]]) -> dict[tuple[bool, str], list[float]]:
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
            for key in found:
                self._known.move_to_end(key)
        return found

    def _keep(self, made: dict[tuple[bool, str], list[float]]) -> dict[tuple[bool, str], list[float]]:
        with self._lock:
            self._known |= made
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return made
