"""Loading checkpoints: what is quantized, what is refused, and that the photo reaches the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant.engine import checkpoint, describe, device, loader
from assistant.engine.checkpoint import BUNDLED, Checkpoint, choose_default
from assistant.engine.installation import choose_model
from assistant.engine.loader import LoadedModel
from assistant.errors import NotReady
from assistant.settings import Settings
from tests.engine import tiny
from tests.engine.conftest import cpu_settings, inputs_of, picture

Load = Callable[..., LoadedModel]
GIB = 2**30
COMMIT = "0" * 40


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_the_photo_reaches_the_model(load: Load, quantize: str) -> None:
    import torch

    loaded = load("idefics3", quantize=quantize)
    seen = []
    for image in (picture("red", "E21"), picture("green", "E04"), picture("red", "E21")):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is the code"}]}]
        with torch.inference_mode():
            seen.append(loaded.model(**inputs_of(loaded, messages, [image])).logits[0, -1].float())
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)
    assert torch.equal(seen[0], seen[2])


def test_the_photo_reaches_the_model_in_every_architecture(loaded: LoadedModel) -> None:
    import torch

    seen = []
    for image in (picture("red"), picture("blue", "E04")):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is it"}]}]
        with torch.inference_mode():
            seen.append(loaded.model(**inputs_of(loaded, messages, [image])).logits[0, -1].float())
    assert not torch.allclose(seen[0], seen[1], atol=1e-5)


def test_only_the_language_model_is_quantized_and_that_twice(load: Load) -> None:
    from bitsandbytes.nn import Linear4bit
    from torch.nn import Linear

    model = load("idefics3", quantize="nf4").model
    linears = {name: part for name, part in model.named_modules() if isinstance(part, Linear)}
    quantized = {name for name, part in linears.items() if isinstance(part, Linear4bit)}
    assert quantized
    assert all("text_model" in name for name in quantized)
    assert not any(part in name for name in quantized for part in ("vision", "connector", "lm_head"))
    precise = set(linears) - quantized
    assert any("vision" in name for name in precise)
    assert any("lm_head" in name for name in precise)
    assert linears[min(quantized)].weight.quant_state.quant_type == "nf4"
    # On a CPU bitsandbytes unpacks the quantized scales for its kernels: what was asked for is in the configuration.
    assert model.config.quantization_config.bnb_4bit_use_double_quant


def test_a_checkpoint_that_is_quantized_already_is_loaded_as_it_is(load: Load, tmp_path: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    saved = load("idefics3", quantize="nf4")
    saved.model.save_pretrained(tmp_path)
    saved.processor.save_pretrained(tmp_path)
    again = loader.load(Checkpoint(str(tmp_path)), cpu_settings(tmp_path, quantize="none"))
    assert any(isinstance(part, Linear4bit) for part in again.model.modules())


def test_pickled_weights_are_never_loaded(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(checkpoints("idefics3"), folder)
    for file in folder.glob("*.safetensors"):
        file.rename(folder / "pytorch_model.bin")
    with pytest.raises(NotReady, match="Pickled weights can run code"):
        loader.load(Checkpoint(str(folder)), cpu_settings(folder))


def test_code_of_a_checkpoint_is_never_run(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    folder, trace = tmp_path / "coded", tmp_path / "trace"
    shutil.copytree(checkpoints("idefics3"), folder)
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotReady):
        loader.load(Checkpoint(str(folder)), cpu_settings(folder))
    assert not trace.exists()


@pytest.mark.parametrize("architecture", sorted(tiny.SAVERS))
def test_the_doctor_says_whether_several_are_answered_at_once(
    checkpoints: Callable[[str], Path], architecture: str
) -> None:
    facts = {fact.name: fact for fact in describe(cpu_settings(checkpoints(architecture)))}
    assert facts["batching"].status == ("ok" if architecture in tiny.ARCHITECTURES else "warn")


@pytest.mark.parametrize("model", ["auto", "none"])
def test_the_doctor_misses_a_gpu_that_is_set_and_not_there(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(device, "gpu_count", lambda: 0)
    facts = {fact.name: fact for fact in describe(Settings(model=model, device="cuda:1"))}
    assert (facts["device"].status, "ASSISTANT_DEVICE is cuda:1" in facts["device"].detail) == ("fail", True)
    assert "auto or cpu" in facts["device"].advice


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "bert"}'])
def test_a_folder_that_is_no_vision_language_model_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(NotReady, match=tmp_path.name):
        loader.load(Checkpoint(str(tmp_path)), cpu_settings(tmp_path))


def test_a_checkpoint_of_the_hub_must_be_pinned() -> None:
    with pytest.raises(NotReady, match="not pinned"):
        checkpoint.from_settings(Settings(model="some/model"))
    with pytest.raises(NotReady, match="not pinned"):
        checkpoint.from_settings(Settings(model="some/model", model_revision="main"))
    assert checkpoint.from_settings(Settings(model="some/model", model_revision=COMMIT)).commit == COMMIT
    assert (
        checkpoint.from_settings(Settings(model="Qwen/Qwen3-VL-8B-Instruct")).commit is not None
    )  # we know our defaults
    with pytest.raises(NotReady, match="no folder"):
        checkpoint.from_settings(Settings(model="./nowhere"))


def test_a_hub_that_cannot_be_reached_is_one_clear_error() -> None:
    settings = Settings(model="some/model", model_revision=COMMIT, device="cpu")
    with pytest.raises(NotReady, match="cannot be reached"):
        loader.load(checkpoint.from_settings(settings), settings)


@pytest.mark.parametrize(
    ("free", "name"), [(80, "Qwen/Qwen3-VL-8B-Instruct"), (9, "Qwen/Qwen3-VL-4B"), (5, "Qwen/Qwen3-VL-2B"), (2, None)]
)
def test_the_largest_default_that_fits_is_chosen(free: float, name: str | None) -> None:
    chosen = choose_default(free * GIB, sample=False)
    assert chosen is None if name is None else chosen is not None and chosen.name.startswith(name)


def test_the_model_that_comes_along_is_for_the_sample_company_alone(tmp_path: Path) -> None:
    assert choose_model(Settings(device="cpu")) == BUNDLED
    assert choose_model(Settings(device="cpu", taxonomy=tmp_path / "own.toml")) is None
    assert choose_model(Settings(device="cpu", model="none")) is None
