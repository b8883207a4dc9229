"""No text is embedded twice in a short time, and every text gets its own vector."""

from __future__ import annotations

import threading

from langchain_core.embeddings import Embeddings

from assistant.engine.models import remembered
from assistant.engine.models.remembered import Remembered


class Counting(Embeddings):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [[float(len(text)), float(hash(text) % 97)] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(f"query: {text}")
        return [-1.0, float(len(text))]


def test_what_is_known_is_not_embedded_again_and_order_stays() -> None:
    inner = Counting()
    embeddings = Remembered(inner)
    first = embeddings.embed_documents(["a", "bb", "a", "ccc"])
    assert inner.asked == ["a", "bb", "ccc"]
    assert first[0] == first[2] != first[1]
    again = embeddings.embed_documents(["ccc", "dddd", "a"])
    assert inner.asked == ["a", "bb", "ccc", "dddd"]
    assert again == [first[3], Counting().embed_documents(["dddd"])[0], first[0]]
    assert embeddings.embed_query("a") == [-1.0, 1.0]  # another vector than the document's
    assert embeddings.embed_query("a") == [-1.0, 1.0]
    assert inner.asked[-1] == "query: a"
    assert inner.asked.count("query: a") == 1


def test_only_so_much_is_remembered_and_an_import_not_at_all() -> None:
    inner = Counting()
    embeddings = Remembered(inner)
    embeddings.embed_documents([f"import {number}" for number in range(remembered._AT_ONCE + 1)])
    embeddings.embed_documents(["import 0"])
    assert inner.asked.count("import 0") == 2
    for start in range(0, remembered._MOST + 100, 100):
        embeddings.embed_documents([f"text {number}" for number in range(start, start + 100)])
    assert len(embeddings._known) == remembered._MOST
    embeddings.embed_documents(["import 0"])
    assert inner.asked.count("import 0") == 3  # the oldest went


def test_many_threads_get_what_they_asked_for() -> None:
    embeddings, wrong = Remembered(Counting()), []

    def ask(number: int) -> None:
        texts = [f"text {(number * 7 + step) % 50}" for step in range(40)]
        if embeddings.embed_documents(texts) != Counting().embed_documents(texts):
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
