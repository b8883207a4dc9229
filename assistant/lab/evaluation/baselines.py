"""The methods that search is compared with: BM25, embeddings, and rank fusion of both, over the same passages."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sqlalchemy import select

from assistant.db import Database
from assistant.models import Article, Passage, Vector
from assistant.text.words import query_words, stem, stems

# The usual constants of rank fusion (Cormack et al. 2009) and Okapi BM25.
_RRF, _K1, _B = 60, 1.2, 0.75


@dataclass(frozen=True)
class Corpus:
    """Passages as stems and vectors. ``names``: the articles' ids in the set; ``owner`` (n,): each passage's index in
    ``names``; ``known_as``: from the index's public ids to the ids in the set."""

    names: tuple[str, ...]
    known_as: Mapping[str, str]
    owner: np.ndarray
    words: tuple[Counter[str], ...]
    vectors: np.ndarray

    @classmethod
    def read(cls, db: Database, model: str) -> Corpus:
        with db.read() as session:
            query = select(Article.source_key, Passage.heading, Passage.text, Vector.embedding).join(Passage.article)
            query = query.join(Vector, Vector.content_hash == Passage.content_hash)
            rows = session.execute(query.where(Vector.embedding_model == model).order_by(Passage.id)).all()
            known_as = {
                public_id: article_name(key)
                for public_id, key in session.execute(select(Article.public_id, Article.source_key))
            }
        names = tuple(dict.fromkeys(article_name(key) for key, *_ in rows))
        places = {name: place for place, name in enumerate(names)}
        return cls(
            names,
            known_as,
            np.array([places[article_name(key)] for key, *_ in rows]),
            tuple(Counter(stems(f"{heading}\n{text}")) for _, heading, text, _ in rows),
            np.array([np.frombuffer(blob, dtype="<f4") for *_, blob in rows]),
        )

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([sum(words.values()) for words in self.words], dtype=np.float64)

    @cached_property
    def _rarity(self) -> dict[str, float]:
        having = Counter(word for words in self.words for word in words)
        return {word: math.log(1 + (len(self.words) - n + 0.5) / (n + 0.5)) for word, n in having.items()}

    @cached_property
    def _postings(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Word to (passages that contain it, how often)."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row, words in enumerate(self.words):
            for word, times in words.items():
                found.setdefault(word, []).append((row, times))
        return {
            word: (np.array([r for r, _ in pairs]), np.array([t for _, t in pairs])) for word, pairs in found.items()
        }

    def bm25(self, question: str) -> np.ndarray:
        """(articles,) BM25 score of each article's best passage, over stems without stop words."""
        scores = np.zeros(len(self.words))
        length = _K1 * (1 - _B + _B * self._lengths / self._lengths.mean())
        for word in {stem(word) for word in query_words(question)} & self._postings.keys():
            rows, times = self._postings[word]
            scores[rows] += self._rarity[word] * times * (_K1 + 1) / (times + length[rows])
        return self._best(scores)

    def meaning(self, vector: Sequence[float]) -> np.ndarray:
        """(articles,) cosine of each article's best passage."""
        return self._best(self.vectors @ np.asarray(vector, dtype=np.float32))

    def fused(self, question: str, vector: Sequence[float]) -> np.ndarray:
        """(articles,) reciprocal rank fusion of both."""
        both = (self.bm25(question), self.meaning(vector))
        ranks = [np.argsort(np.argsort(-scores, kind="stable")) for scores in both]
        return np.asarray(sum(1 / (_RRF + 1 + rank) for rank in ranks))

    def _best(self, scores: np.ndarray) -> np.ndarray:
        best = np.full(len(self.names), -np.inf)
        np.maximum.at(best, self.owner, scores)
        return best


def article_name(key: str) -> str:
    """An article's id in its set: without the suffix that the import adds to repeated ids of JSON lines."""
    if "#" in key:
        return key.split("#", 1)[1].split("~", 1)[0]
    return Path(key).with_suffix("").as_posix()
