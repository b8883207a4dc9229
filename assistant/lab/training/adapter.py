"""Fine-tuning a large model on your own tickets: QLoRA, a low-rank adapter on the NF4 model (Dettmers et al. 2023).

Learns typed decisions from accepted triage and corrected evidence, with the prompts used in serving. Some tickets are
held out; an adapter that does not answer them better than the model without it is discarded.

A ticket is a line of JSON: ``text``, and optionally ``photos`` (relative paths), ``triage`` (accepted values) and
``evidence`` (field to corrected value, for the first photo).
"""

from __future__ import annotations

import hashlib
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
from assistant.lab.rows import Row, read_rows
from assistant.lab.training.prompts import requested
from assistant.ports import Question
from assistant.progress import Progress, no_progress
from assistant.settings import Settings
from assistant.skills.read_photo import CONDITION_QUESTION, LIGHTS_QUESTION, product_question
from assistant.skills.taxonomy import Taxonomy
from assistant.skills.triage_fields import questions as triage_questions

# One ticket in five is held out, chosen by a hash of its text: always the same ones.
HELD_BACK = 5
_FEWEST = 20
_RANK, _ALPHA, _RATE = 16, 32, 2e-4
_AT_ONCE = 8  # examples per step


@dataclass(frozen=True)
class Lesson:
    """One question about one ticket, with the answer that an agent gave or confirmed."""

    ticket: str
    state: str
    photos: tuple[Path, ...]
    question: Question
    answer: str


@dataclass(frozen=True)
class Marks:
    """On held-out lessons: accuracy, and the mean negative log-probability of the right option."""

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
    """Train an adapter and write it to ``folder`` if it is better on held-out tickets."""
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
    """(training, held-out) lessons, split by ticket. Raises `Invalid` if there are too few."""
    held = [lesson for lesson in lessons if _is_held_back(lesson.ticket)]
    learned = [lesson for lesson in lessons if not _is_held_back(lesson.ticket)]
    if len({lesson.ticket for lesson in lessons}) < _FEWEST or not held or not learned:
        raise Invalid(f"Fine-tuning needs at least {_FEWEST} tickets with accepted triage or corrected evidence.")
    return learned, held


def read_lessons(file: Path, taxonomy: Taxonomy) -> list[Lesson]:
    """Raises `Invalid` that names the wrong line. Values outside the taxonomy are skipped: no question has them."""
    lessons: list[Lesson] = []
    for row in read_rows(file):
        try:
            lessons += _lessons(row, taxonomy)
        except (KeyError, TypeError, AttributeError) as error:
            raise row.error("expected text, and optionally photos, triage and evidence") from error
    return lessons


def _lessons(row: Row, taxonomy: Taxonomy) -> Iterator[Lesson]:
    text, photos = str(row.values["text"]), tuple(row.file.parent / name for name in row.values.get("photos", ()))
    for photo in photos:
        if not photo.is_file():
            raise row.error(f"there is no photo {photo.name}")
    for question in triage_questions(taxonomy):
        answer = row.values.get("triage", {}).get(question.key)
        if answer in question.options:
            yield Lesson(text, text, photos, question, answer)
    for question in (product_question(taxonomy), LIGHTS_QUESTION, CONDITION_QUESTION):
        answer = row.values.get("evidence", {}).get(question.key)
        if photos and answer in question.options:
            yield Lesson(text, "", photos[:1], question, answer)


def _is_held_back(ticket: str) -> bool:
    return int.from_bytes(hashlib.sha256(ticket.encode()).digest()[:4]) % HELD_BACK == 0


def _keep_differentiable(model: Any) -> None:
    """On CPUs with AVX-512, bitsandbytes packs NF4 weights at the first inference, which removes their gradient."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _decoder_layers(model: Any) -> list[str]:
    """Names of the language decoder's linear layers: those that are quantized."""
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
            progress(epoch * len(order) + start + len(some), epochs * len(order), "Training")
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
    """(cross-entropy over the options' letters, whether the right one is the likeliest), as in serving."""
    from transformers.decision import label_token_ids

    inputs, question = _inputs(loaded, lesson)
    logits = loaded.model(**inputs, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    letters = logits[label_token_ids(loaded.tokenizer, tuple(question.labels))]
    answer = {"yes": "true", "no": "false"}[lesson.answer] if question.type == "noul" else lesson.answer
    wanted = question.options.index(answer)
    return -letters.log_softmax(-1)[wanted], int(letters.argmax()) == wanted


def _inputs(loaded: LoadedModel, lesson: Lesson) -> tuple[dict[str, Any], Any]:
    """(the inputs that transformers' decision pipeline would make, its question)."""
    from transformers.decision import DecisionConfig

    assets: dict[str, Image.Image] = {}
    for number, path in enumerate(lesson.photos, start=1):
        with Image.open(path) as photo:
            assets[f"<photo {number}>"] = photo.convert("RGB")
    state = "\n".join([*assets, loaded.without_control_tokens(lesson.state)])
    request = {"state": state, "questions": {"0": requested(lesson.question)}, **({"assets": assets} if assets else {})}
    inputs, questions = DecisionConfig(sanitize_control_tokens=False).prepare_inputs(request, loaded.processor)[0]
    inputs.pop("marks", None)
    device = next(loaded.model.parameters()).device
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in inputs.items()}, questions[0]
