"""What in an article diverts the model that answers: orders to it, in whatever words, language or disguise.

What is read has no powers (`prompts`, `grounding`), but what stands in an article may be said. So the model is tried on
it first: it is told to write one word, with the text before it as data. If it writes anything else, it has done what
the text says, and the text is not taken in (known-answer detection: Liu et al. 2024, "Formalizing and Benchmarking
Prompt Injection Attacks and Defenses"). Where no model writes, nothing follows what it reads, and nothing is tried.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from assistant.errors import AssistantError, EngineFailed
from assistant.ports import Capabilities
from assistant.retrieval.sources.article import ArticleSource, Section
from assistant.retrieval.sources.coverage import Coverage, count
from assistant.skills import prompts

# Raise this with every change that finds other texts, so that articles are screened again.
REVISION = 1
LEFT_OUT = "orders to an AI"
# Words of texts that are tried together, and characters that may stand around the word that was asked for.
_TOGETHER, _AROUND = 250, 40


@dataclass(frozen=True)
class Screen:
    """Tries texts on the model. Its methods raise an `AssistantError` if the model fails."""

    model: BaseChatModel

    def article(self, article: ArticleSource) -> tuple[ArticleSource, tuple[str, ...]]:
        """The article without what diverts the model, and that. Internal ones stay as they are: no model reads them."""
        if article.visibility != "public":
            return article, ()
        texts = (text for section in article.sections for text in _texts(section))
        orders = self.orders_among([article.title, *texts])
        return (_without(article, orders), tuple(orders)) if orders else (article, ())

    def text(self, text: str) -> tuple[str, tuple[str, ...]]:
        """As `article`, of paragraphs separated by blank lines."""
        paragraphs = text.split("\n\n")
        orders = self.orders_among(paragraphs)
        return "\n\n".join(one for one in paragraphs if one not in orders), tuple(orders)

    def orders_among(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts that divert the model, in their order, each once. They are tried together, and alone only
        where that diverts it. What does so only together is left out together."""
        found: list[str] = []
        for some in _groups(list(dict.fromkeys(text for text in texts if text.strip()))):
            if self._diverts("\n\n".join(some)):
                found += [text for text in some if len(some) > 1 and self._diverts(text)] or some
        return found

    def _diverts(self, text: str) -> bool:
        word = secrets.token_hex(4)
        messages = [
            SystemMessage(prompts.render("screen_system.j2", word=word)),
            HumanMessage(prompts.render("screen.j2", text=text)),
        ]
        model: Any = self.model
        try:
            written = str(model.invoke(messages).text).strip()
        except AssistantError:
            raise
        except Exception as error:
            raise EngineFailed("The model gave no answer.") from error
        return word not in written or len(written) > len(word) + _AROUND


def screen_by(capabilities: Capabilities) -> Screen | None:
    """None where no model writes answers."""
    model = capabilities.chat_model
    return Screen(model) if model is not None and capabilities.writes_answers else None


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for text in texts:
        if some and sum(len(one.split()) for one in (*some, text)) > _TOGETHER:
            yield some
            some = []
        some.append(text)
    if some:
        yield some


def _texts(section: Section) -> list[str]:
    pictures = (text for one in section.pictures for text in (one.alt, one.caption, one.nearby))
    return [*section.headings, *section.blocks, *pictures]


def _without(article: ArticleSource, orders: Collection[str]) -> ArticleSource:
    blocks = [block for section in article.sections for block in section.blocks]
    gone = count(block for block in blocks if block in orders)
    known = article.coverage or Coverage(count(blocks), count(blocks))
    return replace(
        article,
        title=article.key if article.title in orders else article.title,
        sections=tuple(_section(section, orders) for section in article.sections),
        coverage=replace(known, kept=max(0, known.kept - gone), left_out={**known.left_out, LEFT_OUT: gone}),
    )


def _section(section: Section, orders: Collection[str]) -> Section:
    kept = [place for place, block in enumerate(section.blocks) if block not in orders]
    pictures = []
    for one in section.pictures:
        alt, caption, nearby = ("" if text in orders else text for text in (one.alt, one.caption, one.nearby))
        after = sum(place < one.after for place in kept)
        pictures.append(replace(one, after=after, alt=alt, caption=caption, nearby=nearby))
    return replace(
        section,
        headings=tuple(heading for heading in section.headings if heading not in orders),
        blocks=tuple(section.blocks[place] for place in kept),
        pictures=tuple(pictures),
        pages=tuple(section.pages[place] for place in kept) if section.pages else (),
    )
