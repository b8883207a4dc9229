"""Fine-tuning a large model on one's own tickets: QLoRA, a low-rank adapter on the NF4 model (Dettmers et al. 2023).

Learns typed decisions from accepted triage and corrected evidence, in the prompts that serving sends. Some tickets are
held back; an adapter that does not answer those better than the model without it is not promoted.

A ticket is a line of JSON: ``text``, perhaps ``photos`` (paths beside the file), ``triage`` (accepted values) and
``evidence`` (field to corrected value, for the first photo).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image

from assistant.engine.checkpoint import Checkpoint
from assistant.engine.loader import LoadedModel, load
from assistant.errors import Invalid
from assistant.lab.training.prompts import requested
from assistant.ports import Question
from assistant.progress import Progress, no_progress
from assistant.settings import Settings
from assistant.skills.read_photo import CONDITION_QUESTION, LIGHTS_QUESTION, product_question
from assistant.skills.taxonomy import Taxonomy
from assistant.skills.triage import questions as triage_questions

# One ticket in so many is held back, chosen by its text: the same ones each time.
HELD_BACK = 5
_FEWEST = 20
_RANK, _ALPHA, _RATE = 16, 32, 2e-4
_AT_ONCE = 8  # examples a step


@dataclass(frozen=True)
class Lesson:
    """One question about one ticket, with the answer that a person gave or confirmed."""

    ticket: str
    state: str
    photos: tuple[Path, ...]
    question: Question
    answer: str


@dataclass(frozen=True)
class Marks:
    """On held-back lessons: the share that is right, and the mean negative log-probability of the right option."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Outcome:
    learned_from: int
    measured_on: int
    before: Marks
    after: Marks

    @property
    def better(self) -> bool:
        return self.after.loss < self.before.loss and self.after.accuracy >= self.before.accuracy

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "promoted": self.better}


def fine_tune(
    base: Checkpoint,
    lessons: Sequence[Lesson],
    *,
    settings: Settings,
    folder: Path,
    epochs: int = 3,
    rate: float = _RATE,
    progress: Progress = no_progress,
) -> Outcome:
    """Train an adapter and, only if it is better on held-back tickets, write it to ``folder``."""
    from peft import LoraConfig, get_peft_model

    learned, held = split(lessons)
    loaded = load(base, settings.model_copy(update={"quantize": "nf4"}))
    _keep_differentiable(loaded.model)
    before = _marks(loaded, held, progress, "Measuring before")
    torch.manual_seed(0)
    config = LoraConfig(r=_RANK, lora_alpha=_ALPHA, lora_dropout=0.0, target_modules=_decoder_layers(loaded.model))
    tuned = LoadedModel(get_peft_model(loaded.model, config), loaded.processor)
    _learn(tuned, learned, epochs=epochs, rate=rate, progress=progress)
    outcome = Outcome(len(learned), len(held), before, _marks(tuned, held, progress, "Measuring after"))
    if outcome.better:
        folder.mkdir(parents=True, exist_ok=True)
        tuned.model.save_pretrained(folder)
    return outcome


def split(lessons: Sequence[Lesson]) -> tuple[list[Lesson], list[Lesson]]:
    """(learned from, held back), by ticket. Raises `Invalid` if there are too few."""
    held = [lesson for lesson in lessons if _is_held_back(lesson.ticket)]
    learned = [lesson for lesson in lessons if not _is_held_back(lesson.ticket)]
    if len({lesson.ticket for lesson in lessons}) < _FEWEST or not held or not learned:
        raise Invalid(f"Fine-tuning needs at least {_FEWEST} tickets with accepted triage or corrected evidence.")
    return learned, held


def read_lessons(file: Path, taxonomy: Taxonomy) -> list[Lesson]:
    """Raises `Invalid` and says which line is wrong. Values outside the taxonomy are left out: they cannot be asked."""
    lessons: list[Lesson] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                lessons += _lessons(json.loads(line), file.parent, taxonomy)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Invalid(f"{file.name}, line {number}: a JSON object with text and triage is expected.") from error
    return lessons


def _lessons(row: dict[str, Any], folder: Path, taxonomy: Taxonomy) -> Iterator[Lesson]:
    text, photos = str(row["text"]), tuple(folder / name for name in row.get("photos", ()))
    for photo in photos:
        if not photo.is_file():
            raise ValueError(photo.name)
    for question in triage_questions(taxonomy):
        answer = row.get("triage", {}).get(question.key)
        if answer in question.options:
            yield Lesson(text, text, photos, question, answer)
    for question in (product_question(taxonomy), LIGHTS_QUESTION, CONDITION_QUESTION):
        answer = row.get("evidence", {}).get(question.key)
        if photos and answer in question.options:
            yield Lesson(text, "", photos[:1], question, answer)


def _is_held_back(ticket: str) -> bool:
    return int.from_bytes(hashlib.sha256(ticket.encode()).digest()[:4]) % HELD_BACK == 0


def _keep_differentiable(model: Any) -> None:
    """On CPUs with AVX-512, bitsandbytes packs NF4 weights when they first infer; packed, they pass no gradient."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _decoder_layers(model: Any) -> list[str]:
    """Names of the linear layers of the language decoder: those that are quantized."""
    from bitsandbytes.nn import Linear4bit

    return [name for name, module in model.named_modules() if isinstance(module, Linear4bit)]


def _learn(tuned: LoadedModel, lessons: Sequence[Lesson], *, epochs: int, rate: float, progress: Progress) -> None:
    parameters = [parameter for parameter in tuned.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    tuned.model.train()
    order = list(lessons)
    for epoch in range(epochs):
        Random(epoch).shuffle(order)
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            for lesson in some:
                torch.autograd.backward(_loss(tuned, lesson)[0] / len(some))
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress(epoch * len(order) + start + len(some), epochs * len(order), "Learning")
    tuned.model.eval()


def _marks(loaded: LoadedModel, lessons: Sequence[Lesson], progress: Progress, what: str) -> Marks:
    losses, right = [], []
    with torch.inference_mode():
        for number, lesson in enumerate(lessons, start=1):
            loss, is_right = _loss(loaded, lesson)
            losses.append(float(loss))
            right.append(is_right)
            progress(number, len(lessons), what)
    return Marks(sum(right) / len(right), sum(losses) / len(losses))


def _loss(loaded: LoadedModel, lesson: Lesson) -> tuple[torch.Tensor, bool]:
    """Cross-entropy over the options' letters, where serving reads them; whether the right one is the likeliest."""
    from transformers.decision import label_token_ids

    inputs, question = _inputs(loaded, lesson)
    logits = loaded.model(**inputs, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    letters = logits[label_token_ids(loaded.tokenizer, tuple(question.labels))]
    answer = {"yes": "true", "no": "false"}[lesson.answer] if question.type == "noul" else lesson.answer
    wanted = question.options.index(answer)
    return -letters.log_softmax(-1)[wanted], int(letters.argmax()) == wanted


def _inputs(loaded: LoadedModel, lesson: Lesson) -> tuple[dict[str, Any], Any]:
    """The decision pipeline's own inputs."""
    from transformers.decision import DecisionConfig

    assets = {f"<photo {number}>": _opened(path) for number, path in enumerate(lesson.photos, start=1)}
    state = "\n".join([*assets, loaded.without_control_tokens(lesson.state)])
    request = {"state": state, "questions": {"0": requested(lesson.question)}, **({"assets": assets} if assets else {})}
    inputs, questions = DecisionConfig(sanitize_control_tokens=False).prepare_inputs(request, loaded.processor)[0]
    kept = {name: value for name, value in inputs.items() if name != "marks"}
    device = next(loaded.model.parameters()).device
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in kept.items()}, questions[0]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return photo.convert("RGB")
