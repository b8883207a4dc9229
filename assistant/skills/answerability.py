"""How likely it is that a quote answers the question.

A passage that shares only the question's topic looks much like one that answers it, and in every corpus and by every
embedder "much alike" is another figure. So nothing is compared with a constant, but with the rest of the corpus:

* ``told``: the information that question and quote share, over the square root of the question's (times eight, plus
  one). Information is the summed rarity (idf) of words; of a long question no answer repeats as large a share.
* ``ahead``: the share of the question's information that the quote has, less what the passages of other articles have
  in the median. Where all of them have the question's words, those words say nothing.
* ``stands_out``: how many standard deviations, in fifths, the passage's similarity to the question lies above that of
  passages taken at random, beyond what the best wrong passages of this knowledge base do, and as far as similarity
  tells right from wrong there at all (`Standing`).

Each counts for the sentence of the question that the passage covers best. Their weighted sum is the log odds (logistic
regression). What no figure can outweigh comes first: `is_out_of_reach`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from langchain_core.documents import Document

from assistant.ports import USUAL_STANDING, Standing
from assistant.skills.answer_request import AnswerRequest
from assistant.text.identifiers import certain, spot
from assistant.text.languages import SURE
from assistant.text.sentences import sentences
from assistant.text.units import Unit
from assistant.text.words import query_words, stem, stems

# Log odds of nothing in common, and of each signal: `assistant eval answers --fit` on 1,000 answers, half of them with
# the right article left out (anthropic_docs, emanual_tv, stackfaq, English xquad, the sample company). What they do,
# also on a set that they were not fitted on, is in README.md.
_NOTHING, _WEIGHTS = -3.26, (3.11, 1.87, 8.69)
# What an identifier that question and quote share, and few other passages have, adds to the log odds. Too few questions
# of the sets have one to fit it.
_CODED = 5.5
# So many standard deviations are all that can be had.
_FAR = 5.0
# Of few passages no deviation can be told: until there are many more than this, it is that of unrelated texts on the
# scale that all embedders share.
_MEAN, _DEVIATION, _FEW = 0.1, 0.12, 10
# Longer identifiers are serial and order numbers: told, not asked about.
_LONGEST_CODE = 6
# "How long", "how many": the answer has a duration or number, not these words.
_MEASURE = re.compile(r"\bhow\s+\w+", re.IGNORECASE)


@dataclass(frozen=True)
class Signals:
    """See the module. ``told`` is 0 to about 2, ``ahead`` -1 to 1, ``stands_out`` about -1 to 1. ``coded``: whether an
    identifier that few other passages have is in question and passage."""

    told: float
    ahead: float
    stands_out: float
    coded: bool = False

    @property
    def confidence(self) -> float:
        """The probability, 0 to 1, that the quote answers."""
        odds = _NOTHING + _CODED * self.coded
        odds += sum(
            weight * signal for weight, signal in zip(_WEIGHTS, (self.told, self.ahead, self.stands_out), strict=True)
        )
        return 1.0 / (1.0 + math.exp(-odds))


def best_signals(request: AnswerRequest, passages: Sequence[Document], chosen: Sequence[Unit]) -> Signals | None:
    """Those of the passage whose units answer best; None if nothing was ``chosen`` or none of it can answer."""
    quotes: dict[int, list[str]] = {}
    for unit in chosen:
        # What a row says, its columns' names say too, and so does the question that an answer belongs to.
        quotes.setdefault(unit.passage, []).append(f"{unit.under} {unit.asked} {unit.quote}")
    if is_out_of_reach(request, [passages[at] for at in quotes]):
        return None
    found = (signals(request, passages, at, "\n".join(texts)) for at, texts in quotes.items())
    return max(found, key=lambda one: one.confidence, default=None)


def signals(request: AnswerRequest, passages: Sequence[Document], at: int, quote: str) -> Signals:
    """How the quote from passage ``at`` of those that were found stands to the request."""
    passage = passages[at]
    rarity: Mapping[str, float] = passage.metadata.get("rarity", {})
    coded = bool(telling_codes(request, passage))
    deviations = _deviations(passage)
    standing: Standing = passage.metadata.get("standing") or USUAL_STANDING
    stands_out = standing.tells(deviations)
    if coded:  # it was found by the identifier, however little similar it is
        stands_out = max(0.0, stands_out)
    if _is_foreign(request, passage):  # it cannot have the question's words
        return Signals(deviations / _FAR, deviations / _FAR, stands_out, coded)
    words = _asked(request, passage, rarity)
    total = sum(rarity[word] for word in words)
    if not total:
        return Signals(0.0, 0.0, stands_out, coded)
    quoted = _information(words, f"{passage.metadata.get('heading', '')}\n{quote}", rarity)
    article = passage.metadata.get("article_id")
    rest = [one for one in passages if one.metadata.get("article_id") != article]
    rest = rest or [one for place, one in enumerate(passages) if place != at]
    usual = median(_information(words, _whole(one), rarity) for one in rest) if rest else 0.0
    return Signals(quoted / math.sqrt(8 * total + 1), (quoted - usual) / total, stands_out, coded)


def is_out_of_reach(request: AnswerRequest, quoted: Sequence[Document]) -> bool:
    """Whether these passages cannot answer, whatever they have in common with the question: they are about another
    product; the question has a code that no article about its product has; or it is in a language that neither they nor
    the embedder read, and shares no identifier with them."""
    coded = any(telling_codes(request, passage) for passage in quoted)
    unread = {passage.metadata.get("unread_language") for passage in quoted} - {None}
    missing = {
        code for passage in quoted for kind in ("unknown", "elsewhere") for code in passage.metadata.get(kind, ())
    }
    asked = {code for code in certain(request.question) if len(code) <= _LONGEST_CODE}
    return (
        any(passage.metadata.get("fits") is False for passage in quoted)
        or (not coded and not asked.isdisjoint(missing))
        or (not coded and any(passage.metadata.get("language") not in unread for passage in quoted) and bool(unread))
    )


def telling_codes(request: AnswerRequest, passage: Document) -> list[str]:
    """The request's identifiers that the passage contains. One that names the whole article, such as a product's name,
    does not count: it says nothing about this passage."""
    has, names = passage.metadata.get("codes", ()), passage.metadata.get("names", ())
    return [code for code in request.codes if code in has and code not in names]


def distinctive_stems(request: AnswerRequest, passages: Sequence[Document]) -> list[set[str]]:
    """For each sentence of the question, the stems that at most half of the passages contain. Sentences without any
    are left out."""
    texts = [set(stems(full_text(passage))) for passage in passages]
    few = max(1.0, len(texts) / 2)
    found = []
    for sentence in sentences(request.question):
        words = {stem(word) for word in query_words(sentence)}
        rare = {word for word in words if sum(word in text for text in texts) <= few}
        found += [rare] if rare else []
    return found


def full_text(passage: Document) -> str:
    """The passage under its heading."""
    return f"{passage.metadata.get('heading', '')}\n{passage.page_content}"


def _asked(request: AnswerRequest, passage: Document, rarity: Mapping[str, float]) -> set[str]:
    """The stems of the sentence of the question of whose information the passage has the largest share. The name of its
    product says nothing about what of the product is asked."""
    product = re.sub(r"[\W_]+", " ", str(passage.metadata.get("product") or ""))
    name = set(stems(product)) if passage.metadata.get("fits") else set()
    asked = [
        {stem(word) for word in query_words(sentence) if len(word) <= _LONGEST_CODE or not spot(word)}
        & rarity.keys() - name
        for sentence in sentences(_MEASURE.sub(" ", request.question))
    ]
    whole = _whole(passage)
    shares = [
        _information(words, whole, rarity) / total if (total := sum(rarity[word] for word in words)) else -1.0
        for words in asked
    ]
    return asked[shares.index(max(shares))] if asked else set()


def _whole(passage: Document) -> str:
    return f"{passage.metadata.get('article_title', '')}\n{full_text(passage)}"


def _information(words: Collection[str], text: str, rarity: Mapping[str, float]) -> float:
    """The summed rarity of the ``words`` that the text has."""
    has = set(stems(text))
    return sum(rarity[word] for word in words if word in has)


def _deviations(passage: Document) -> float:
    """How many standard deviations the passage's similarity lies above that of passages taken at random, 0 to 5."""
    similarity = float(passage.metadata.get("similarity") or 0.0)
    mean, deviation, count = passage.metadata.get("background", (0.0, 0.0, 0))
    mean = (count * mean + _FEW * _MEAN) / (count + _FEW)
    deviation = math.sqrt((count * deviation**2 + _FEW * _DEVIATION**2) / (count + _FEW))
    return min(_FAR, max(0.0, float(similarity - mean) / deviation))


def _is_foreign(request: AnswerRequest, passage: Document) -> bool:
    spoken, sure = request.language
    return sure > SURE and passage.metadata.get("language") != spoken
