"""Which language a text is in, with a probability that can be acted on.

A softmax over the sum of learned vectors of the text's character n-grams (Joulin et al. 2017, "Bag of Tricks for
Efficient Text Classification"), without a library: about 0.1 ms a message. What is no language is left out before:
addresses, codes, names of products, foreign scripts. `lab.training.languages` trains it and says on what.

Short texts are likely in several languages, so the languages that are expected count too (Bayes): those of the
conversation or the customer's browser, else how many people speak each.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from zlib import crc32

import numpy as np
import regex

# Millions who speak the language, roughly: how likely a customer is to write it. From a hundred million on it makes no
# difference: a desk's customers are no sample of mankind.
_SPEAKERS = {
    "af": 7, "am": 35, "ar": 380, "az": 24, "be": 4, "bg": 8, "bn": 270, "bs": 2, "ca": 9, "cs": 11, "cy": 1, "da": 6,
    "de": 130, "el": 13, "en": 1500, "es": 560, "et": 1, "eu": 1, "fa": 80, "fi": 6, "fr": 310, "ga": 1, "gl": 3,
    "gu": 60, "he": 9, "hi": 600, "hr": 5, "hu": 13, "hy": 5, "id": 200, "is": 0.4, "it": 68, "ja": 125, "ka": 4,
    "kk": 15, "km": 17, "kn": 60, "ko": 80, "ky": 5, "lb": 0.4, "lo": 7, "lt": 3, "lv": 2, "mk": 2, "ml": 38, "mn": 5,
    "mr": 95, "ms": 20, "my": 43, "ne": 30, "nl": 25, "no": 5, "pa": 110, "pl": 43, "ps": 50, "pt": 260, "ro": 25,
    "ru": 255, "si": 17, "sk": 6, "sl": 2, "sq": 7, "sr": 9, "sv": 13, "sw": 80, "ta": 85, "te": 95, "tg": 9, "th": 60,
    "tr": 90, "ug": 10, "uk": 40, "ur": 230, "uz": 35, "vi": 86, "zh": 1100,
}  # fmt: skip
LANGUAGES = tuple(_SPEAKERS)

_ENGLISH = 3  # written by many who speak something else at home

# Above this probability a language is acted on.
SURE = 0.6
BITS = 17  # of a bucket's number
_LONGEST_GRAM = 5
_MOST_CHARS = 1000
# A word with a capital inside a sentence is probably a name (or a German noun), which says less of the language.
_NAME = 0.3
# With so many letters the evidence counts half (see `_weight_of`).
_LENT = 4
# How much the browser and what was written earlier say of the next message's language.
_BROWSER, _EARLIER = 0.7, 0.9

_NO_WORDS = regex.compile(
    r"https?://\S+|www\.\S+|\S+@\S+|\b[\w-]+\.(?:com|org|net|io|de|html?|jpe?g|png|pdf|py|js)\b\S*|<[^<>]*>|&#?\w+;"
)
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TOKEN = regex.compile(rf"[{_UNSPACED}][{_UNSPACED}\p{{M}}ー]*|[^\s{_UNSPACED}/|·…—]+|[.!?\n]")
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}\u200c'’·-]*")
_CODE = regex.compile(r"[\p{Nd}_\\@#=]|\p{Ll}\p{Lu}")
_DENSE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")  # about three letters each
_LATIN = regex.compile(r"\p{Latin}")
_SENTENCE_ENDS = regex.compile(r"[.!?:\n]\W*$")


def detect(text: str, prior: Mapping[str, float] | None = None) -> tuple[str, float]:
    """(ISO 639-1 code of the likeliest language, its probability). ``prior``: see `distribution`."""
    probabilities = _posterior(text, prior)
    best = int(probabilities.argmax())
    return LANGUAGES[best], float(probabilities[best])


def distribution(text: str, prior: Mapping[str, float] | None = None) -> dict[str, float]:
    """The probability of every language of `LANGUAGES`; they sum to 1. ``prior``: those before the text was read."""
    return dict(zip(LANGUAGES, _posterior(text, prior).tolist(), strict=True))


def expected(browser: str | None = None, earlier: str = "") -> dict[str, float]:
    """The prior for a customer's next message. ``browser``: the language of page or browser, a BCP 47 tag; ``earlier``:
    what they have written before."""
    prior = _base()
    language = regex.split("[-_]", (browser or "").lower())[0]
    if language in LANGUAGES:
        prior = (1 - _BROWSER) * prior
        prior[LANGUAGES.index(language)] += _BROWSER
    if earlier:
        before = _posterior(earlier, dict(zip(LANGUAGES, prior.tolist(), strict=True)))
        prior = (1 - _EARLIER) * prior + _EARLIER * before
    return dict(zip(LANGUAGES, prior.tolist(), strict=True))


def spot_words(text: str) -> list[tuple[str, bool]]:
    """The words that say something of a text's language, lower-cased, each with whether it is probably a name."""
    text = _NO_WORDS.sub(" ", unicodedata.normalize("NFKC", text[:_MOST_CHARS]))
    shouted = sum(map(str.isupper, text)) > sum(map(str.islower, text))
    words: list[tuple[str, bool]] = []
    starts = True
    for token in _TOKEN.findall(text):
        is_code = _CODE.search(token) or (len(token) > 1 and token.isupper() and not shouted)
        for word in () if is_code else _WORD.findall(token):
            words.append((word.lower().replace("’", "'"), word[0].isupper() and not starts and not shouted))
            starts = False
        starts = starts or _SENTENCE_ENDS.search(token) is not None
    latin = [pair for pair in words if _LATIN.match(pair[0])]
    other = [pair for pair in words if not _LATIN.match(pair[0])]
    # Latin names and terms amid another script say nothing; a word of Chinese has about a third of the letters.
    plain = sum(len(word) for word, is_name in latin if not is_name)
    return other if other and 3 * sum(len(word) for word, _ in other) >= plain else latin


def weigh(words: Sequence[tuple[str, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of the words and their n-grams, int64, and the weight of each: both (n,). Divided by the root of
    their number: the evidence of a long text grows, but n-grams of one word repeat each other."""
    plain = _buckets([word for word, is_name in words if not is_name])
    names = _buckets([word for word, is_name in words if is_name])
    weights = np.repeat(np.array([1.0, _NAME], dtype=np.float32), [len(plain), len(names)])
    return np.concatenate([plain, names]), weights / np.sqrt(weights.sum())


def _buckets(words: Sequence[str]) -> np.ndarray:
    """Of each word, and of each n-gram of 1 to 5 characters of the words with spaces around them."""
    if not words:
        return np.zeros(0, dtype=np.int64)
    text = f" {' '.join(words)} "
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    hashed, found = np.zeros(len(codes), dtype=np.uint64), []
    for length in range(1, min(_LONGEST_GRAM, len(codes)) + 1):
        hashed = hashed[: len(codes) - length + 1] * np.uint64(1_000_003) + codes[length - 1 :] + np.uint64(length)
        # Fibonacci hashing: the upper bits of a product with 2^64 / golden ratio.
        found.append((hashed * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - BITS)).astype(np.int64))
    return np.concatenate([np.array([crc32(word.encode()) >> (32 - BITS) for word in words]), *found])


def _posterior(text: str, prior: Mapping[str, float] | None) -> np.ndarray:
    expected = _base() if prior is None else np.array([prior.get(language, 0.0) for language in LANGUAGES])
    logits = np.log(np.maximum(expected, 1e-9))
    if words := spot_words(text):
        vectors, head, bias = _model()
        ids, weights = weigh(words)
        said = head @ (weights @ vectors[ids].astype(np.float32)) + bias
        logits = logits + said * _weight_of(words)
    odds = np.exp(logits - logits.max())
    probabilities: np.ndarray = odds / odds.sum()
    return probabilities


def _weight_of(words: Sequence[tuple[str, bool]]) -> float:
    """How much of the evidence counts, 0 to 1: a single word is often lent from another language."""
    letters = sum(len(word) * (_NAME if is_name else 1) * (3 if _DENSE.match(word) else 1) for word, is_name in words)
    return letters / (letters + _LENT)


@cache
def _base() -> np.ndarray:
    weights = np.minimum(100, np.array(list(_SPEAKERS.values())))
    weights[LANGUAGES.index("en")] *= _ENGLISH
    prior: np.ndarray = weights / weights.sum()
    return prior


@cache
def _model() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of the n-grams (buckets, d) int8, the head (languages, d) and its bias, as `lab.training.languages`
    writes them. Read-only, so threads share them."""
    with resources.files("assistant.text").joinpath("languages.npz").open("rb") as file, np.load(file) as stored:
        return stored["vectors"], stored["head"].astype(np.float32), stored["bias"].astype(np.float32)
