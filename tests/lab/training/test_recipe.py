"""The recipe of the small model, on a few scenes and steps: what is drawn, asked, trained and written."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from assistant.engine.batching import decisions
from assistant.engine.checkpoint import Checkpoint
from assistant.engine.loader import load
from assistant.engine.models.probes import read_probes
from assistant.lab.training import data, patches, prompts, questions, sequences, trainer
from assistant.lab.training import tokenizer as tokens
from assistant.lab.training.patches import CELLS, GRID, IGNORE
from assistant.lab.training.plots import plot_losses
from assistant.lab.training.scenes import KINDS, photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED, LIGHTS
from assistant.settings import Settings
from assistant.skills.read_photo import CANNOT_TELL


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> trainer.Plan:
    """A model that has been trained for moments: three steps at least, the tower alone for the first."""
    made = trainer.Plan(
        tmp_path_factory.mktemp("training"),
        minutes=0.04,
        photos=2,
        tower_steps=1,
        workers=0,
        tokenizer_scenes=80,
        familiar_scenes=8,
    )
    trainer.train(made)
    return made


def test_a_seed_gives_the_same_photo_and_truth_and_another_gives_another() -> None:
    (first, truth), (again, same), (other, _) = (photograph(seed, long_side=160) for seed in (7, 7, 8))
    assert truth == same
    assert np.array_equal(first, again)
    assert not np.array_equal(first.resize((64, 64)), other.resize((64, 64)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_scene_is_drawn_with_what_it_shows_inside_the_frame(kind: str) -> None:
    for seed in range(4):
        _, scene = photograph(seed, long_side=160, kind=kind)
        assert scene.kind == kind
        for item in scene.items:
            if item.kind in ("glyph", "light", "damage"):
                assert all(0 < part < 1 for part in item.centre)
        assert not scene.code or scene.code in scene.text


def test_lights_and_signs_are_where_the_targets_say() -> None:
    _, scene = photograph(3, long_side=160, kind="product")
    found = patches.targets(scene)
    for item in scene.items:
        column, row = item.centre
        if item.kind == "light":
            assert found.lights[int(row * GRID), int(column * GRID)] == 1 + list(LIGHTS).index(item.value)
        if item.kind == "glyph":
            assert found.glyphs[int(row * CELLS), int(column * CELLS)] != 0
    lights = [item.centre for item in scene.items if item.kind == "light"]
    assert lights
    assert found.points[: len(lights)] == pytest.approx(np.array(lights, np.float32))
    assert np.isnan(found.points[len(lights) :]).all()


def test_training_refuses_scenes_of_the_evaluation() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        next(data.batches(FIRST_EVALUATION_SEED, data.Mix(photos=1, fresh=1.0, turns=0), None, workers=0))


def test_a_foreign_photo_teaches_to_say_cannot_tell() -> None:
    _, scene = photograph(0, long_side=160, kind="foreign")
    answers = {asked.name: asked.answer for asked in questions.read_photo_questions(scene)}
    assert answers == {"product": "none", "lights": CANNOT_TELL, "condition": CANNOT_TELL}
    assert json.loads(questions.evidence_answer(scene))["text"] == []


def test_what_is_trained_on_is_what_the_engine_asks(plan: trainer.Plan) -> None:
    from transformers.decision import DecisionConfig

    photo, scene = photograph(6, long_side=160, kind="product")
    processor = tokens.processor(trainer.load_state(plan).tokenizer)
    for asked in [*questions.read_photo_questions(scene, "E21"), *questions.typed(Random(0), scene)]:
        state = f"<photo 1>\n{asked.state}"
        request = {
            "state": state,
            "questions": {"0": decisions.pipeline_question(asked.question)},
            "assets": {"<photo 1>": photo},
        }
        served, _ = DecisionConfig(sanitize_control_tokens=False).prepare_inputs(request, processor)[0]
        packed = sequences.pack(processor.tokenizer, [[prompts.decision_turn(asked)]])
        assert packed.ids[0, :-1].tolist() == served["input_ids"][0].tolist(), asked.name
        letter = packed.labels[0, -2]
        assert processor.tokenizer.decode([int(letter)]) == prompts.decision_turn(asked).answer


def test_turns_about_one_photo_do_not_see_each_other(plan: trainer.Plan) -> None:
    state = trainer.load_state(plan)
    pixels, _, scene = data.example(6, kind="product")
    turns = [prompts.decision_turn(asked) for asked in questions.typed(Random(0), scene)]
    model = state.model.eval()
    with torch.no_grad():
        features = model.model.vision_model(data.pixel_values([pixels])).last_hidden_state
        together, _ = trainer.answer_loss(model, features, sequences.pack(state.tokenizer, [turns]), "cpu")
        alone = [
            trainer.answer_loss(model, features, sequences.pack(state.tokenizer, [[turn]]), "cpu")[0] for turn in turns
        ]
    # bfloat16: what differs is rounding.
    assert float(together) == pytest.approx(float(torch.stack(alone).mean()), rel=0.02)


def test_each_option_is_known_with_its_letter_and_the_place_that_answers(plan: trainer.Plan) -> None:
    _, scene = photograph(6, long_side=160, kind="product")
    tokenizer = trainer.load_state(plan).tokenizer
    asked = questions.typed(Random(0), scene)
    choices = [one for one in asked if one.question.kind == "choice"]
    packed = sequences.pack(tokenizer, [[prompts.evidence_turn(scene), *map(prompts.decision_turn, choices)]])
    read = [tokenizer.decode(packed.ids[row, : place + 1]).splitlines()[-1] for row, place, *_ in packed.options]
    options = [(one, number) for one in choices for number in range(len(one.question.options))]
    assert read == [f"{'ABCDEFGHIJ'[number]}. {one.question.options[number]}" for one, number in options]
    assert [letter for *_, letter, _ in packed.options] == [number for _, number in options]
    assert [bool(right) for *_, right in packed.options] == [
        one.question.options[number] == one.answer for one, number in options
    ]
    answers = {(row, place) for row, place, _ in packed.names}
    assert {(row, asked) for row, _, asked, _, _ in packed.options} == answers


@pytest.mark.parametrize("lies", [True, False])
def test_of_a_claim_it_is_known_where_it_ends_and_whether_it_holds(plan: trainer.Plan, lies: bool) -> None:
    _, scene = photograph(6, long_side=160, kind="product")
    tokenizer = trainer.load_state(plan).tokenizer
    asked = questions.contradicts(Random(0), scene, lies=lies)
    assert asked is not None
    packed = sequences.pack(tokenizer, [[prompts.decision_turn(asked)]])
    [(row, place, answered, letter, right)] = packed.options
    assert tokenizer.decode(packed.ids[row, : place + 1]).endswith(asked.state)
    assert (letter, bool(right)) == (IGNORE, not lies)
    assert [(row, answered, "contradiction")] == list(packed.names)


def test_only_answers_are_learned(plan: trainer.Plan) -> None:
    _, scene = photograph(1, long_side=160, kind="label")
    tokenizer = trainer.load_state(plan).tokenizer
    packed = sequences.pack(tokenizer, [[prompts.evidence_turn(scene)]])
    learned = tokenizer.decode(packed.labels[packed.labels != IGNORE])
    assert learned == questions.evidence_answer(scene) + prompts.END


def test_training_goes_on_where_it_ended(plan: trainer.Plan) -> None:
    before = trainer.load_state(plan)
    steps: list[int] = []
    again = replace(plan, minutes=0.02, resume=True)
    trainer.train(again, report=lambda progress: steps.append(progress.step))
    after = trainer.load_state(plan)
    assert after.step > before.step
    assert after.seed > before.seed
    plot_losses(plan.folder / "log.jsonl", plan.folder / "loss.png")
    assert (plan.folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_with_a_frozen_tower_the_language_half_alone_learns(plan: trainer.Plan) -> None:
    before = trainer.load_state(plan).model.state_dict()
    trainer.train(replace(plan, minutes=0.02, resume=True, freeze_tower=True))
    after = trainer.load_state(plan).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert not [name for name in changed if "vision_model" in name]


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_the_model_loads_as_any_other_and_knows_its_probes(plan: trainer.Plan, quantize: str) -> None:
    checkpoint = Checkpoint(str(plan.folder / "model"))
    loaded = load(checkpoint, Settings(model=checkpoint.name, quantize=quantize))
    assert type(loaded.model).__name__ == "Idefics3ForConditionalGeneration"
    probes = read_probes(checkpoint)
    assert probes is not None
    assert list(probes.classes["lights"]) == list(LIGHTS)
    assert sum(file.stat().st_size for file in (plan.folder / "model").iterdir()) < 20e6
