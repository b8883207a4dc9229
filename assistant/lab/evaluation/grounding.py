"""Whether what an article says is told from what is only put together from its words.

Claims of our own about the sample company's articles (``claims.toml``): some say what a passage says in other words,
some say something else with words of its own. Of a retrieval set, the sentences of the reference answers are held
against the right articles, and against another one.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.errors import Invalid
from assistant.lab.evaluation.baselines import article_name
from assistant.lab.evaluation.retrieval_set import RetrievalSet, read_set
from assistant.lab.tables import table
from assistant.retrieval.loaders import list_articles
from assistant.retrieval.splitting import split
from assistant.sample import articles_dir
from assistant.skills.grounding import SUPPORTED, support
from assistant.text.sentences import sentences

CLAIMS = Path(__file__).with_name("claims.toml")
REWORDED, JOINED = "reworded", "put together"
WRITTEN, ELSEWHERE = "written from it", "from another"


@dataclass(frozen=True)
class Claim:
    """``kind``: what became of the passage's words; ``support``: as `skills.grounding` gives it."""

    set: str
    kind: str
    text: str
    support: float

    @property
    def is_said(self) -> bool:
        return self.support >= SUPPORTED


@dataclass(frozen=True)
class Report:
    claims: tuple[Claim, ...]

    def share(self, name: str, kind: str) -> float:
        said = [one.is_said for one in self.claims if (one.set, one.kind) == (name, kind)]
        return sum(said) / len(said)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.claims]

    def render(self, show: int = 0) -> str:
        """``show``: so many of each kind that were judged wrongly."""
        kinds = list(dict.fromkeys((one.set, one.kind) for one in self.claims))
        counts = [sum((one.set, one.kind) == kind for one in self.claims) for kind in kinds]
        rows = [(*kind, count, self.share(*kind)) for kind, count in zip(kinds, counts, strict=True)]
        lines = table(("set", "claims", "number", "said"), rows)
        for name, kind in kinds:
            wanted = kind in (REWORDED, WRITTEN)
            wrong = [one for one in self.claims if (one.set, one.kind) == (name, kind) and one.is_said != wanted]
            lines += [f"{name}, {kind}, {'said' if one.is_said else 'not said'}: {one.text}" for one in wrong[:show]]
        return "\n".join(lines)


def evaluate_grounding(paths: Sequence[Path], *, seed: int = 0) -> Report:
    """``paths``: retrieval sets with reference answers. Raises `Invalid` for one that has none."""
    claims = list(_own())
    for path in paths:
        claims += _of_set(read_set(path), random.Random(seed))
    return Report(tuple(claims))


def _own() -> Iterator[Claim]:
    passages = {
        f"{found.key}#{passage.heading.rpartition(' > ')[2]}": passage.indexed
        for found in list_articles(articles_dir()).found
        if (article := found.read()) is not None
        for passage in split(article)
    }
    for key, kinds in tomllib.loads(CLAIMS.read_text(encoding="utf-8")).items():
        for kind, texts in ((REWORDED, kinds["right"]), (JOINED, kinds["wrong"])):
            for text in texts:
                yield Claim("sample", kind, text, support(text, passages[key]))


def _of_set(labelled: RetrievalSet, drawing: random.Random) -> Iterator[Claim]:
    articles = {
        article_name(found.key): [passage.indexed for passage in split(article)]
        for file in labelled.articles
        for found in list_articles(file).found
        if (article := found.read()) is not None
    }
    asked = [one for some in labelled.questions.values() for one in some if one.answer and one.gold & articles.keys()]
    if not asked:
        raise Invalid(f"{labelled.folder} has no questions with a reference answer and a known article (gold).")
    for question in asked:
        own = [passage for name in question.gold & articles.keys() for passage in articles[name]]
        other = articles[drawing.choice(sorted(articles.keys() - question.gold))]
        for sentence in sentences(question.answer):
            for kind, passages in ((WRITTEN, own), (ELSEWHERE, other)):
                score = max((support(sentence, passage) for passage in passages), default=0.0)
                yield Claim(labelled.name, kind, sentence, score)
