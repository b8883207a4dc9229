"""Models of real shapes with random weights, for measuring: speed and memory do not depend on the values of weights.

Built on the device they run on, and quantized like a loaded checkpoint; nothing is downloaded. What they write is
meaningless, and they never end a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from assistant.engine import loader
from assistant.engine.loader import LoadedModel
from assistant.errors import Invalid
from assistant.settings import Settings

PREFIX = "random:"
_END = "<end_of_utterance>"
_TURN = (
    "{%- for m in messages -%}{{ m.role }}: {% for c in m.content %}"
    "{% if c.type == 'image' %}IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor -%}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def build(name: str, settings: Settings, *, texts: Iterable[str], folder: Path | None = None) -> LoadedModel:
    """The model called ``random:NAME``. Its tokenizer is trained on ``texts``, so they have about as many tokens as
    with a real one. With a ``folder`` it is saved there as a checkpoint, before it is quantized."""
    if name not in _SHAPES:
        raise Invalid(f"There is no shape {name!r}. Shapes: {', '.join(PREFIX + shape for shape in _SHAPES)}.")
    config, processor = _SHAPES[name](list(texts))
    model = _random_model(config, settings)
    model.generation_config.update(eos_token_id=None, pad_token_id=config.get_text_config().pad_token_id)
    if folder is not None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    if loader.quantizes(settings):
        _quantize(model, config)
    return LoadedModel(model.eval(), processor)


def _random_model(config: Any, settings: Settings) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    dtype, device = loader.dtype_for(settings), loader.device_for(settings)
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config, dtype=dtype)


def _quantize(model: Any, config: Any) -> None:
    """Replace the decoder's linear layers with NF4 ones, as loading with bitsandbytes does."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    kept = loader.modules_kept_precise(config)
    for path, part in list(model.named_modules()):
        if not isinstance(part, torch.nn.Linear) or any(path == name or path.startswith(f"{name}.") for name in kept):
            continue
        layer = Linear4bit(
            part.in_features,
            part.out_features,
            bias=part.bias is not None,
            compute_dtype=model.dtype,
            quant_type="nf4",
            device="meta",
        )
        layer.weight = Params4bit(part.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
        layer.bias = part.bias
        model.set_submodule(path, layer.to(part.weight.device))


def _small(texts: list[str]) -> tuple[Any, Any]:
    """A few million parameters, like the model that ships with the product."""
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 3}
    text = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 3, "num_key_value_heads": 3}
    return _idefics3(texts, {**vision, "image_size": 160}, {**text, **heads}, shuffle=2, vocabulary=3584)


def _smolvlm_256m(texts: list[str]) -> tuple[Any, Any]:
    """Like SmolVLM-256M; a photo is one tile."""
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    text = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    return _idefics3(texts, {**vision, "image_size": 512}, {**text, **heads}, shuffle=4, vocabulary=49280)


def _idefics3(
    texts: list[str], vision: dict[str, int], text: dict[str, int], *, shuffle: int, vocabulary: int
) -> tuple[Any, Any]:
    from transformers import Idefics3Config, Idefics3ImageProcessorPil, Idefics3Processor

    tokenizer = _tokenizer(texts, "<fake_token_around_image>", "<image>", "<global-img>")
    side = vision["image_size"]
    config = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=shuffle,
        vision_config={**vision, "patch_size": 16},
        text_config={"model_type": "llama", **text, **_token_ids(tokenizer, vocabulary)},
        tie_word_embeddings=True,
    )
    size = {"longest_edge": side}
    pixels = Idefics3ImageProcessorPil(do_image_splitting=False, size=size, max_image_size=size)
    tokens = (side // 16 // shuffle) ** 2
    template = _TURN.replace("IMAGE", "<image>")
    return config, Idefics3Processor(pixels, tokenizer, image_seq_len=tokens, chat_template=template)


def _qwen3_vl_8b(texts: list[str]) -> tuple[Any, Any]:
    """Like Qwen3-VL-8B; a photo takes up to 1,024 tokens."""
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLProcessor

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _tokenizer(texts, *marks)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(marks))
    config = Qwen3VLConfig(
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        text_config={
            "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144,
            "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
            **_token_ids(tokenizer, 151936),
        },
        vision_config={
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
            "patch_size": 16, "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24],
        },
    )  # fmt: skip
    size = {"shortest_edge": 64 * 32 * 32, "longest_edge": 1024 * 32 * 32}
    half = [0.5] * 3
    pixels = Qwen2VLImageProcessorPil(
        patch_size=16, temporal_patch_size=2, merge_size=2, size=size, image_mean=half, image_std=half
    )
    template = _TURN.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    whole = loader.for_photos_only(Qwen3VLProcessor)
    return config, whole(pixels, tokenizer, chat_template=template)


_SHAPES: dict[str, Callable[[list[str]], tuple[Any, Any]]] = {
    "small": _small,
    "smolvlm-256m": _smolvlm_256m,
    "qwen3-vl-8b": _qwen3_vl_8b,
}


def _token_ids(tokenizer: Any, vocabulary: int) -> dict[str, int]:
    return {
        "vocab_size": max(vocabulary, len(tokenizer)),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _tokenizer(texts: list[str], *marks: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=3500, initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_tokens(["Yes", "No"])  # labels of typed questions; single letters are tokens already
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token=_END, unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.add_tokens(list(marks), special_tokens=True)
    return tokenizer
