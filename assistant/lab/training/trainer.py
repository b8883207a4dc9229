"""Trains the small model from scratch: first the vision tower alone, then everything together and, optionally,
everything but the tower at the end.

A resumed run continues where the last one stopped. Every run ends with a falling learning rate and saves both the final
weights, which are the model, and the state before the decay, from which a later run continues.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from time import monotonic
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from assistant.engine.models.probes import UNNAMED, Familiar, Probes, write_probes
from assistant.lab.training import architecture, data, patches, sequences
from assistant.lab.training import tokenizer as tokens
from assistant.lab.training.judging import Judges
from assistant.lab.training.patches import IGNORE
from assistant.lab.training.scenes import KINDS, photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED

# Steps of the tower alone. Until it distinguishes colours and characters, the rest would learn to ignore it.
TOWER_STEPS = 5000
# Steps of the warm-up, and the share of a run in which the learning rate falls.
_WARM_UP, _COOLING = 100, 0.4
# Weight of the tower's own targets relative to the answers.
_TOWER_SHARE = 0.4
_SEED = 0
_TOKENIZER_SCENES = 1500
# A photo is familiar up to 1.2 times the distance within which 99 % of the model's own world lie: customers' photos
# vary more. Other photos begin at about 1.5 times that distance.
_FAMILIAR, _SLACK, _FAMILIAR_SCENES = 0.99, 1.2, 1000


@dataclass(frozen=True)
class Plan:
    """How to train. ``folder`` holds state, log and model; ``minutes`` is the length of this run."""

    folder: Path
    minutes: float
    resume: bool = False
    device: str = "cpu"
    photos: int = 8  # per step: many small steps learn characters sooner than few large ones
    turns: int = 3  # per photo, once the whole model is trained
    rate: float = 8e-4
    tower_steps: int = TOWER_STEPS
    freeze_tower: bool = False  # train all but the tower, which is faster because features are reused
    fresh: float = 0.5  # share of new photos in a step
    workers: int = 1
    tokenizer_scenes: int = _TOKENIZER_SCENES
    familiar_scenes: int = _FAMILIAR_SCENES
    cool: bool = True
    save_every: float = 120.0  # seconds


@dataclass(frozen=True)
class TrainingStep:
    step: int
    minutes: float
    figures: dict[str, float]


@dataclass
class State:
    model: Any
    heads: patches.Heads
    judges: Judges
    tokenizer: Any
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    seed: int = 0


def train(plan: Plan, *, report: Callable[[TrainingStep], None] = lambda step: None) -> Path:
    """Train for the plan's minutes. Returns the model's folder."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(_SEED)
    state = load_state(plan) if plan.resume else _initialise(plan)
    batches = _batches(plan, state)
    started = saved = monotonic()
    figures: dict[str, float] = {}
    cooling = False
    while (used := (monotonic() - started) / 60) < plan.minutes:
        left = 1 - used / plan.minutes
        if plan.cool and left < _COOLING and not cooling:
            cooling = True
            _save(plan, state)
        share = left / _COOLING if cooling else 1.0
        rate = plan.rate * min(1.0, (state.step + 1) / _WARM_UP) * max(0.05, share)
        for group in (group for optimizer in state.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        batch = next(batches)
        for name, value in _step(plan, state, batch).items():
            figures[name] = 0.98 * figures.get(name, value) + 0.02 * value
        state.step += 1
        state.seed += batch.fresh
        if state.step % 50 == 0:
            _log(plan, TrainingStep(state.step, used, figures), report)
        if not cooling and monotonic() - saved > plan.save_every:
            _save(plan, state)
            saved = monotonic()
    if not cooling:
        _save(plan, state)
    return export(state, plan.folder / "model", scenes=plan.familiar_scenes)


def export(state: State, folder: Path, *, scenes: int = _FAMILIAR_SCENES) -> Path:
    """Weights in bfloat16, processor and tokenizer, as `AutoModelForImageTextToText` and `AutoProcessor` load them."""
    model = copy.deepcopy(state.model).to("cpu", torch.bfloat16)
    model.generation_config.update(
        eos_token_id=state.tokenizer.eos_token_id, pad_token_id=state.tokenizer.pad_token_id, bos_token_id=None
    )
    model.save_pretrained(folder)
    tokens.processor(state.tokenizer).save_pretrained(folder)
    write_probes(_probes(state, scenes), folder)
    return folder


def _probes(state: State, scenes: int) -> Probes:
    """The heads, and what is familiar to the tower: means from ``scenes`` photos, the limit from half as many more."""
    weights = {
        name: (_numbers(getattr(state.heads, name).weight), _numbers(getattr(state.heads, name).bias))
        for name in (*patches.CLASSES, *UNNAMED)
    }
    of, own = _mean_features(state, 3 * scenes // 2)
    familiar = _familiar(of[:scenes], own[:scenes])
    most = float(np.quantile([familiar.distance(one[None]) for one in own[scenes:]], _FAMILIAR))
    return Probes(weights, patches.CLASSES, replace(familiar, limit=_SLACK * most))


def _familiar(of: list[str], own: np.ndarray) -> Familiar:
    """From mean features (scenes, width) of photos ``of`` these things; the limit is set later."""
    things = sorted(set(of))
    means = np.stack([own[[one == thing for one in of]].mean(0) for thing in things])
    spread = np.cov((own - means[[things.index(one) for one in of]]).T)
    # Shrinkage towards the mean variance: few photos say little about the directions that vary least.
    spread += 0.01 * np.trace(spread) / len(spread) * np.eye(len(spread))
    return Familiar(means, np.linalg.inv(spread), 0.0)


def _mean_features(state: State, scenes: int) -> tuple[list[str], np.ndarray]:
    """(what each photo shows, mean features (scenes, width)) of photos never trained on, none of them foreign."""
    kinds = [kind for kind in KINDS if kind != "foreign"]
    random = Random(_SEED)
    of, found = list[str](), []
    seeds = range(FIRST_EVALUATION_SEED - scenes, FIRST_EVALUATION_SEED)
    tower = state.model.model.vision_model
    for seed in seeds:
        kind = random.choices(kinds, weights=[KINDS[kind] for kind in kinds])[0]
        pixels, _, scene = data.example(seed, kind=kind)
        with torch.inference_mode():
            features = tower(data.pixel_values([pixels]).to(tower.device)).last_hidden_state[0]
        of.append(scene.product if kind == "product" else kind)
        found.append(_numbers(features.mean(0)))
    return of, np.stack(found)


def _numbers(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.detach().float().cpu().numpy())


def _initialise(plan: Plan) -> State:
    truths = [photograph(seed, long_side=160)[1] for seed in range(plan.tokenizer_scenes)]
    tokenizer = tokens.train(truths)
    tokenizer.save_pretrained(plan.folder / "tokenizer")
    return _new_state(plan, tokenizer)


def load_state(plan: Plan) -> State:
    """What the last run saved in the plan's folder."""
    from transformers import AutoTokenizer

    saved = torch.load(plan.folder / "state.pt", weights_only=True, map_location=plan.device)
    state = _new_state(plan, AutoTokenizer.from_pretrained(plan.folder / "tokenizer", local_files_only=True))
    state.model.load_state_dict(saved["model"])
    state.heads.load_state_dict(saved["heads"])
    state.judges.load_state_dict(saved["judges"])
    if len(saved["optimizers"]) == len(state.optimizers):  # otherwise it was saved on another kind of device
        for optimizer, before in zip(state.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(before)
    state.step, state.seed = saved["step"], saved["seed"]
    return state


def _new_state(plan: Plan, tokenizer: Any) -> State:
    from transformers import Idefics3ForConditionalGeneration

    model = Idefics3ForConditionalGeneration(architecture.configuration(tokenizer)).to(plan.device)
    architecture.prepare_tower(model.model.vision_model)
    heads = patches.Heads(architecture.WIDTH).to(plan.device)
    judges = Judges(architecture.WIDTH).to(plan.device)
    return State(model, heads, judges, tokenizer, _optimizers(plan, model, heads, judges))


def _optimizers(plan: Plan, model: Any, heads: torch.nn.Module, judges: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """AdamW; on a GPU, Muon (Jordan et al. 2024) for the layers' matrices. On a CPU its own work would take as long as
    the rest of the step."""
    layers = [one for name, one in model.named_parameters() if one.ndim == 2 and "embed" not in name]
    by_muon = layers if torch.device(plan.device).type != "cpu" else []
    muon_ids = {id(one) for one in by_muon}
    others = [one for part in (model, heads, judges) for one in part.parameters() if id(one) not in muon_ids]
    groups = [
        {"params": [one for one in others if one.ndim > 1], "weight_decay": 0.05},
        {"params": [one for one in others if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))]
    if by_muon:
        same_rate = "match_rms_adamw"
        optimizers.append(torch.optim.Muon(by_muon, lr=plan.rate, weight_decay=0.02, adjust_lr_fn=same_rate))
    return optimizers


def _save(plan: Plan, state: State) -> None:
    """Atomically: a run that is killed while saving loses nothing."""
    content = {
        "model": state.model.state_dict(), "heads": state.heads.state_dict(), "judges": state.judges.state_dict(),
        "optimizers": [one.state_dict() for one in state.optimizers], "step": state.step, "seed": state.seed,
    }  # fmt: skip
    unfinished = plan.folder / "state.part"
    torch.save(content, unfinished)
    unfinished.replace(plan.folder / "state.pt")


def _batches(plan: Plan, state: State) -> Iterator[data.Batch]:
    """Photos alone while the tower is trained alone, then with turns."""
    alone = 0 if plan.freeze_tower else plan.tower_steps - state.step
    if alone > 0:
        mix = data.Mix(plan.photos, plan.fresh, turns=0)
        yield from islice(data.batches(state.seed, mix, state.tokenizer, workers=plan.workers), alone)
    see = _features_of(state) if plan.freeze_tower else None
    mix = data.Mix(plan.photos, plan.fresh, plan.turns)
    yield from data.batches(state.seed, mix, state.tokenizer, workers=plan.workers, see=see)


def _features_of(state: State) -> data.See:
    """Encodes photos with a copy of the tower: once each, in the process that draws them."""
    tower = copy.deepcopy(state.model.model.vision_model).to("cpu")

    def see(pixels: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            features: torch.Tensor = tower(data.pixel_values(pixels)).last_hidden_state
        return list(features.half().numpy())

    return see


def _step(plan: Plan, state: State, batch: data.Batch) -> dict[str, float]:
    seen = batch.seen.to(plan.device)
    wanted = {name: value.to(plan.device) for name, value in batch.wanted.items()}
    with torch.autocast(torch.device(plan.device).type, torch.bfloat16):
        # With a frozen tower, `seen` already holds its features.
        tower = state.model.model.vision_model
        features = seen.float() if plan.freeze_tower else tower(data.normalised(seen)).last_hidden_state
        logits = state.heads(features)
    loss, figures = patches.loss(logits, wanted)  # a frozen tower's heads are still trained
    figures["tower"] = float(loss.detach())
    if batch.packed is not None:
        spoken, more = answer_loss(state.model, features, batch.packed, plan.device, judges=state.judges, wanted=wanted)
        loss = _TOWER_SHARE * loss + spoken
        figures |= more
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    learning = [*state.model.parameters(), *state.heads.parameters(), *state.judges.parameters()]
    torch.nn.utils.clip_grad_norm_(learning, 1.0)
    for optimizer in state.optimizers:
        optimizer.step()
    return figures


def answer_loss(
    model: Any,
    features: torch.Tensor,
    packed: sequences.Packed,
    device: str,
    *,
    judges: Judges | None = None,
    wanted: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> tuple[torch.Tensor, dict[str, float]]:
    """(loss, accuracies) of the answers, from the photos' tower features (n, patches, width). ``judges`` adds its own
    loss, for which it needs the targets ``wanted`` of the tower."""
    inner = model.model
    ids, labels = packed.ids.to(device), packed.labels.to(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        seen = inner.connector(features)
        embedded = inner.text_model.get_input_embeddings()(ids)
        embedded = embedded.masked_scatter((ids == model.config.image_token_id)[..., None], seen.to(embedded.dtype))
        read = inner.text_model(
            inputs_embeds=embedded,
            attention_mask=packed.sees(device),
            position_ids=packed.positions.to(device),
            use_cache=False,
            output_hidden_states=judges is not None,
        )
        asked = labels != IGNORE
        logits = model.lm_head(read.last_hidden_state[asked]).float()
        judged, more = (0.0, {}) if judges is None else judges(read.hidden_states, packed, inner.text_model, wanted)
    each = torch.nn.functional.cross_entropy(logits, labels[asked], reduction="none")
    weights = packed.weights.to(device)[asked]
    right = (logits.argmax(-1) == labels[asked]).float()
    figures = {"answers": float((each.detach() * weights).sum() / weights.sum()), "tokens": float(right.mean())}
    return (each * weights).sum() / weights.sum() + judged, figures | more | _by_name(packed, asked, right)


def _by_name(packed: sequences.Packed, asked: torch.Tensor, right: torch.Tensor) -> dict[str, float]:
    """Accuracy of decisions by question."""
    order = asked.flatten().cumsum(0).view(asked.shape) - 1
    found: dict[str, list[float]] = {}
    for row, place, name in packed.names:
        found.setdefault(f"? {name}", []).append(float(right[order[row, place]]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _log(plan: Plan, progress: TrainingStep, report: Callable[[TrainingStep], None]) -> None:
    row = {"step": progress.step, "minutes": round(progress.minutes, 2)}
    row |= {name: round(value, 4) for name, value in progress.figures.items()}
    with (plan.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    report(progress)
