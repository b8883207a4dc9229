"""How well questions about photos are answered: which are understood, which are answered, and how often rightly.

A set is a folder of JSON lines with ``image`` (or ``photo``, a relative path), ``question``, and what is right:
``answers`` (any of them), ``must_contain`` (all of them), ``answer`` or ``product``. Rows of receipts (``total``,
``date``, ``company``) are asked about those, in five languages in turn. Of every photo things are asked as well that no
label of these sets speaks of: whoever answers those claims what nobody has read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import AssistantError
from assistant.lab.rows import Row, read_rows
from assistant.lab.statistics import calibration_error, reliability
from assistant.lab.tables import table
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.ports import Capabilities, Embedder
from assistant.progress import Progress, no_progress
from assistant.skills import photo_questions
from assistant.skills.ask_photo import ask_photo
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import Taxonomy
from assistant.text.folding import fold

# Other questions than the head was fitted to, with what each asks for.
QUESTIONS = Path(__file__).with_name("questions.jsonl")
_BINS = 10
_OF_RECEIPTS = {
    "total": (
        "What is the total?", "Wie hoch ist die Gesamtsumme?", "Combien le client a-t-il payé ?",
        "¿Cuánto es en total?", "Quanto ha pagato in tutto?",
    ),
    "date": (
        "When was this bought?", "Welches Datum steht auf dem Beleg?", "Quelle est la date de l'achat ?",
        "¿Qué fecha pone en el recibo?", "Che data ha lo scontrino?",
    ),
    "company": (
        "Which shop is it from?", "Von welchem Geschäft ist der Beleg?", "Quel magasin a émis ce reçu ?",
        "¿De qué tienda es?", "Di quale negozio è?",
    ),
}  # fmt: skip
# None of these is shown in the sets.
_UNANSWERABLE = (
    "Is the seal torn?", "Wie lautet die Seriennummer?", "¿Está rota la tapa?", "What voltage does it need?",
    "Quel est le code d'erreur ?", "When does it expire?", "What does the third light show?", "Il tubo è piegato?",
)  # fmt: skip
_ASKED_OF_EACH = 3


@dataclass(frozen=True)
class Outcome:
    """``expected``: None of what cannot be answered."""

    name: str
    question: str
    expected: str | None
    said: str
    confidence: float | None
    asks: str
    is_answered: bool
    right: bool


@dataclass(frozen=True)
class SetScore:
    """``right``: of the answered ones; ``claimed``: of the questions that nothing in the photo answers."""

    name: str
    photos: int
    questions: int
    answered: int
    right: float | None
    calibration_error: float | None
    unanswerable: int
    claimed: int


@dataclass(frozen=True)
class Understanding:
    """Of questions that the head has not seen. ``sure``: the share that it is at least .6 sure of, and means something
    but a look; ``sure_right``: how often it is right there."""

    embedder: str
    questions: int
    right: float
    calibration_error: float
    sure: float
    sure_right: float


@dataclass(frozen=True)
class Report:
    model: str
    understood: tuple[Understanding, ...]
    sets: tuple[SetScore, ...]
    outcomes: tuple[Outcome, ...]

    def to_json(self) -> dict[str, Any]:
        wrong = [asdict(one) for one in self.outcomes if one.is_answered and not one.right]
        head = {"model": self.model, "understood": [asdict(one) for one in self.understood]}
        return {**head, "sets": [asdict(one) for one in self.sets], "wrong": wrong}

    def render(self, show: int = 0) -> str:
        """Text tables, then up to ``show`` wrong answers."""
        lines = [f"Model: {self.model}", ""]
        header = ("what is asked for", "questions", "right", "ECE", "sure", "right of these")
        lines += table(header, [
            (one.embedder, one.questions, one.right, one.calibration_error, one.sure, one.sure_right)
            for one in self.understood
        ])  # fmt: skip
        if self.sets:
            header_of_sets = (
                "answers", "photos", "questions", "answered", "right of these", "ECE", "unanswerable", "claimed"
            )  # fmt: skip
            rows = [
                (one.name, one.photos, one.questions, one.answered, one.right, one.calibration_error, one.unanswerable,
                 one.claimed)
                for one in self.sets
            ]  # fmt: skip
            lines += ["", *table(header_of_sets, rows)]
        wrong = [one for one in self.outcomes if one.is_answered and not one.right][:show]
        lines += [
            f"{one.name}: {one.question} {one.said!r} for {one.expected!r} ({one.confidence or 0:.2f})" for one in wrong
        ]
        return "\n".join(lines)


def evaluate_questions(
    paths: Sequence[Path],
    *,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    limits: Limits,
    progress: Progress = no_progress,
) -> Report:
    sets, outcomes = [], []
    for path in paths:
        found = list(_answered(path, capabilities, taxonomy, limits, progress))
        sets.append(_score(path.name, found))
        outcomes += found
    return Report(capabilities.model, tuple(understand(capabilities)), tuple(sets), tuple(outcomes))


def asked() -> list[tuple[str, str]]:
    """(question, what it asks for) of those that the head was not fitted to."""
    return [(row.values["question"], row.values["asks"]) for row in read_rows(QUESTIONS)]


def understand(capabilities: Capabilities) -> Iterator[Understanding]:
    """With the embedder that the head was fitted for, if it is installed, and by letters alone."""
    rows = asked()
    head = photo_questions.load()
    embedder = photo_questions.reader(capabilities)
    if embedder is not None:
        vectors = embedder.embeddings.embed_documents([question for question, _ in rows])
        shares = head.probabilities(np.asarray(vectors, dtype=np.float32))
        yield _understanding(embedder.name, head.classes, shares, rows)
    model, classes = photo_questions.letters()
    yield _understanding("letters", classes, model.predict_proba([question for question, _ in rows]), rows)


def refit(embedder: Embedder) -> photo_questions.Head:
    """The head that ships, from its examples."""
    questions, wanted = photo_questions.examples()
    vectors = np.asarray(embedder.embeddings.embed_documents(questions), dtype=np.float32)
    return photo_questions.fit(vectors, wanted, embedder.name)


def _understanding(
    name: str, classes: Sequence[str], shares: np.ndarray, rows: Sequence[tuple[str, str]]
) -> Understanding:
    best = np.array(classes)[shares.argmax(axis=1)]
    sure = shares.max(axis=1)
    right = best == np.array([wanted for _, wanted in rows])
    is_sure = (sure >= 0.6) & (best != photo_questions.SOMETHING_ELSE)
    error = calibration_error(reliability(sure, right.astype(float), bins=_BINS))
    sure_right = float(right[is_sure].mean()) if is_sure.any() else 0.0
    return Understanding(name, len(rows), float(right.mean()), error, float(is_sure.mean()), sure_right)


def _answered(
    path: Path, capabilities: Capabilities, taxonomy: Taxonomy, limits: Limits, progress: Progress
) -> Iterator[Outcome]:
    rows = [(row, name) for row in read_rows(path) if isinstance(name := _name(row), str)]

    @cache
    def read(file: Path) -> tuple[bytes, PhotoEvidence]:
        data = _photo(file, limits)
        return data, read_photo(data, capabilities=capabilities, taxonomy=taxonomy)

    seen: set[str] = set()
    for number, (row, name) in enumerate(rows):
        photo, evidence = read(row.file.parent / name)
        of_each = range(number * _ASKED_OF_EACH, (number + 1) * _ASKED_OF_EACH)
        none = [] if name in seen else [(_UNANSWERABLE[one % len(_UNANSWERABLE)], None) for one in of_each]
        seen.add(name)
        for question, is_right in [*_wanted(row, number), *none]:
            answer = ask_photo(
                question, evidence, photo=partial(_same, photo), capabilities=capabilities, taxonomy=taxonomy
            )
            is_answered = answer.silence is None
            yield Outcome(
                Path(name).name,
                question,
                expected=_shown(row) if is_right is not None else None,
                said=answer.text,
                confidence=answer.confidence,
                asks=answer.asks,
                is_answered=is_answered,
                right=is_answered and is_right is not None and is_right(answer.text),
            )
        progress(number + 1, len(rows), f"Asking about {path.name}")


def _name(row: Row) -> Any:
    return row.values.get("image", row.values.get("photo"))


def _same(photo: bytes) -> bytes:
    return photo


def _photo(file: Path, limits: Limits) -> bytes:
    try:
        photo = normalise(Upload(file.name, None, file.read_bytes()), limits)
    except (OSError, AssistantError) as error:
        raise Row(file, 0, {}).error("it cannot be read") from error
    if not isinstance(photo, Photo):
        raise Row(file, 0, {}).error("it is not a photo")
    return photo.data


_Judge = Callable[[str], bool]


def _wanted(row: Row, number: int) -> list[tuple[str, _Judge | None]]:
    """Each question with what judges its answer."""
    values = row.values
    question = values.get("question")
    if isinstance(question, str):
        if values.get("must_contain"):
            return [(question, _has_all([str(one) for one in values["must_contain"]]))]
        right = values.get("answers") or [values.get("answer") or values.get("product")]
        return [(question, _is_one_of([str(one) for one in right if one]))]
    return [
        (phrases[number % len(phrases)], _is_one_of([str(values[name])]))
        for name, phrases in _OF_RECEIPTS.items()
        if values.get(name)
    ]


def _shown(row: Row) -> str:
    known = ("answers", "answer", "product", "total", "date", "company", "must_contain")
    return "; ".join(str(row.values[name]) for name in known if row.values.get(name))


def _has_all(parts: Sequence[str]) -> _Judge:
    return lambda said: all(_bare(part) in _bare(said) for part in parts)


def _is_one_of(right: Sequence[str]) -> _Judge:
    return lambda said: any(_bare(one) == _bare(said) for one in right)


def _bare(text: str) -> str:
    """Without capitals, blanks and signs; an amount without its currency."""
    plain = re.sub(r"[^\w.]", "", fold(text)).strip(".")
    return re.sub(r"^[a-z]{1,3}(?=\d+\.\d\d$)", "", plain)


def _score(name: str, outcomes: Sequence[Outcome]) -> SetScore:
    asked_of = [one for one in outcomes if one.expected is not None]
    answered = [one for one in asked_of if one.is_answered]
    none = [one for one in outcomes if one.expected is None]
    right = np.array([one.right for one in answered], dtype=float)
    known = [one for one in answered if one.confidence is not None]
    sure, held = (np.array([getattr(one, name) for one in known], dtype=float) for name in ("confidence", "right"))
    return SetScore(
        name,
        photos=len({one.name for one in outcomes}),
        questions=len(asked_of),
        answered=len(answered),
        right=float(right.mean()) if answered else None,
        calibration_error=calibration_error(reliability(sure, held, bins=_BINS)) if known else None,
        unanswerable=len(none),
        claimed=sum(one.is_answered for one in none),
    )
