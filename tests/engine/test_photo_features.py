"""Features of photos by real loading code: the offline network's own weights, and tiny checkpoints made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image
from transformers import Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from assistant.engine.models import efficientnet, features
from assistant.engine.models.features import TOWER, PhotoFeatures, photo_features
from assistant.errors import NotReady
from tests.engine.test_search_models import make_photo_model

PICTURES = [np.full((40, 60, 3), shade, dtype=np.uint8) for shade in (20, 20, 230)]


@pytest.mark.slow
def test_the_offline_network_computes_what_it_was_trained_to() -> None:
    """By its own classifier, which is not used otherwise, the photo of a flower shows a daisy (class 985 of 1000)."""
    import torch

    flower = load_sample_image("flower.jpg")
    looks = PhotoFeatures().look([flower, flower[:, ::-1]])
    assert (looks.wholes.shape, looks.places.shape) == ((2, 1280), (2, 7, 7, 1280))
    state = torch.load(efficientnet.weights_file(), weights_only=True)
    scores = looks.wholes[0] @ state["_fc.weight"].numpy().T + state["_fc.bias"].numpy()
    assert 985 in np.argsort(-scores)[:2]
    one, mirrored = looks.wholes / np.linalg.norm(looks.wholes, axis=1, keepdims=True)
    assert one @ mirrored > 0.9


def test_weights_that_were_changed_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "weights.pth"
    other.write_bytes(b"not what was published")
    monkeypatch.setattr(efficientnet, "weights_file", lambda: other)
    with pytest.raises(NotReady, match="differ from the published file"):
        PhotoFeatures().look(PICTURES)
    monkeypatch.setattr(efficientnet, "weights_file", lambda: None)
    assert photo_features("auto") is None
    with pytest.raises(NotReady, match="not installed"):
        PhotoFeatures().look(PICTURES)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dino"])
def test_a_checkpoint_by_setting(tmp_path: Path, kind: str) -> None:
    folder = make_dino(tmp_path / kind) if kind == "dino" else make_photo_model(tmp_path / kind, kind)
    found = photo_features(str(folder), device="cpu")
    assert found is not None
    assert found.name.startswith(f"{kind}@")
    looks = found.look(PICTURES)
    assert looks.wholes.shape == (3, 16)
    assert looks.places.shape == (3, 4, 4, 16)
    assert np.allclose(looks.wholes[0], looks.wholes[1])
    assert not np.allclose(looks.wholes[0], looks.wholes[2])


def make_dino(folder: Path) -> Path:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    Dinov2Model(Dinov2Config(**small)).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_tower_of_the_bundled_model() -> None:
    looks = PhotoFeatures(TOWER, device="cpu").look(PICTURES)
    assert looks.places.shape[:3] == (3, 16, 16)
    assert np.allclose(looks.wholes[0], looks.wholes[1], atol=1e-4)


def test_what_cannot_be_loaded_says_which_setting_to_check(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotReady, match="ASSISTANT_PHOTO_FEATURES"):
        PhotoFeatures(str(tmp_path)).look(PICTURES)
    (tmp_path / "model.pt").touch()
    with pytest.raises(NotReady, match="pickled"):
        PhotoFeatures(str(tmp_path)).look(PICTURES)
    assert features.photo_features(None) is None
