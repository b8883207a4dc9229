"""Tiny randomly initialised checkpoints of real architectures: the engine's code meets real models, in milliseconds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

WORDS = (
    "the a red green light blinks display shows code error E21 machine pump water tank photo customer yes no Yes No "
    "what which is in of to and true false User Assistant"
).split()
END = "<end_of_utterance>"
_TURN = (
    "{% for c in m.content %}{% if c.type == 'image' %}IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n"
)
_IDEFICS3 = (
    "{% for m in messages %}{{ m.role }}:"
    + _TURN.replace("IMAGE", "<image>")
    + "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_QWEN3_VL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    + _TURN.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Gemma's: it writes the beginning token itself, knows no system role and wants roles to alternate.
_GEMMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ m.role }}\n"
    + _TURN.replace("IMAGE", "<start_of_image>")
    + "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def save_idefics3(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP-like tower, pixel shuffle, Llama text model; dimensions that NF4 accepts."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    tokenizer = _tokenizer("<fake_token_around_image>", "<image>", "<global-img>")
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        vision_config={**vision, "image_size": 64, "patch_size": 16},
        text_config={"model_type": "llama", **_TEXT, **_token_ids(tokenizer)},
    )
    size = {"longest_edge": 64}
    image_processor = Idefics3ImageProcessorPil(do_image_splitting=False, size=size, max_image_size=size)
    processor = Idefics3Processor(image_processor, tokenizer, image_seq_len=4, chat_template=_IDEFICS3)
    _save(Idefics3ForConditionalGeneration, config, tokenizer, folder, seed)
    processor.save_pretrained(folder)
    return folder


def save_saying(folder: Path, text: str, *, ends: bool = True) -> Path:
    """An Idefics3 that says ``text`` to everything, a token a word, over and over unless it ``ends``. What comes next
    is told by the last token alone, so no word may be in it twice."""
    import torch
    from transformers import AutoProcessor, Idefics3ForConditionalGeneration

    save_idefics3(folder)
    model, processor = Idefics3ForConditionalGeneration.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    tokenizer, words = processor.tokenizer, re.findall(r"\s*\S+", text)
    tokenizer.add_tokens(words)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    said = tokenizer.convert_tokens_to_ids([":", *words])  # the prompt's last token, then what is said
    heard, told = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert len(set(said)) == len(said) < heard.shape[1]
    with torch.no_grad():
        for layer in model.model.text_model.layers:  # no token learns of another
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        told.zero_()
        following = [*said[1:], tokenizer.eos_token_id if ends else said[1]]
        for place, (last, following_one) in enumerate(zip(said, following, strict=True)):
            heard[last] = torch.eye(heard.shape[1])[place]
            told[following_one, place] = 1.0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_gemma3(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP tower, pooling projector, Gemma text model with sliding windows."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil, Gemma3Processor

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer("<start_of_turn>", extra_special_tokens=named)
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
    number = tokenizer.convert_tokens_to_ids
    config = Gemma3Config(
        mm_tokens_per_image=4,
        boi_token_index=number("<start_of_image>"),
        eoi_token_index=number("<end_of_image>"),
        image_token_index=number("<image_soft_token>"),
        vision_config={**vision, "image_size": 64, "patch_size": 16},
        text_config={**_TEXT, "head_dim": 32, "sliding_window": 64, **_token_ids(tokenizer)},
    )
    image_processor = Gemma3ImageProcessorPil(size={"height": 64, "width": 64})
    processor = Gemma3Processor(image_processor, tokenizer, image_seq_length=4, chat_template=_GEMMA3)
    _save(Gemma3ForConditionalGeneration, config, tokenizer, folder, seed)
    processor.save_pretrained(folder)
    return folder


def save_qwen3_vl(folder: Path, *, seed: int = 0) -> Path:
    """Laid out as the hub's Qwen3-VL checkpoints are, with a video processor that cannot be had without torchvision."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _tokenizer(*marks)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(marks))
    rope = {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        text_config={**_TEXT, "head_dim": 32, "rope_scaling": rope, **_token_ids(tokenizer)},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
        },
    )  # fmt: skip
    _save(Qwen3VLForConditionalGeneration, config, tokenizer, folder, seed, do_sample=True, temperature=0.7, top_k=20)
    patches = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "processor_class": "Qwen3VLProcessor"}
    pixels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"longest_edge": 16384, "shortest_edge": 1024}}
    _write(folder, "preprocessor_config.json", image_processor_type="Qwen2VLImageProcessorFast", **patches, **pixels)
    _write(folder, "video_preprocessor_config.json", video_processor_type="Qwen3VLVideoProcessor", **patches, **pixels)
    _write(folder, "chat_template.json", chat_template=_QWEN3_VL)
    tokenizer.save_pretrained(folder)
    return folder


def save_llava_onevision(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP tower, tiles chosen by the photo's shape, Qwen2 text model."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
        LlavaOnevisionProcessor,
    )

    tokenizer = _tokenizer("<image>", "<video>")
    image, video = tokenizer.convert_tokens_to_ids(["<image>", "<video>"])
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    shapes = [[32, 64], [64, 32], [64, 64]]
    config = LlavaOnevisionConfig(
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=shapes,
        vision_config={"model_type": "siglip_vision_model", **vision, "image_size": 32, "patch_size": 16},
        text_config={"model_type": "qwen2", **_TEXT, **_token_ids(tokenizer)},
    )
    pixels = {"size": {"height": 32, "width": 32}, "image_grid_pinpoints": shapes}
    processor = _for_photos_only(LlavaOnevisionProcessor)(
        LlavaOnevisionImageProcessorPil(**pixels),
        tokenizer,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=_IDEFICS3,
    )
    _save(LlavaOnevisionForConditionalGeneration, config, tokenizer, folder, seed)
    processor.save_pretrained(folder)
    _write(folder, "video_preprocessor_config.json", video_processor_type="LlavaOnevisionVideoProcessor", **pixels)
    return folder


def save_internvl(folder: Path, *, seed: int = 0) -> Path:
    """InternVL's own tower, pixel shuffle, Qwen2 text model."""
    from transformers import (
        GotOcr2ImageProcessorPil,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
    )

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(extra_special_tokens=named)
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = InternVLConfig(
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        vision_config={**vision, "image_size": [64, 64], "patch_size": [16, 16]},
        text_config={"model_type": "qwen2", **_TEXT, **_token_ids(tokenizer)},
    )
    image_processor = GotOcr2ImageProcessorPil(size={"height": 64, "width": 64}, max_patches=2)
    processor = _for_photos_only(InternVLProcessor)(
        image_processor, tokenizer, image_seq_length=4, chat_template=_IDEFICS3.replace("<image>", "<IMG_CONTEXT>")
    )
    _save(InternVLForConditionalGeneration, config, tokenizer, folder, seed)
    processor.save_pretrained(folder)
    _write(folder, "video_preprocessor_config.json", video_processor_type="InternVLVideoProcessor")
    return folder


def save_mllama(folder: Path, *, seed: int = 0) -> Path:
    """Photos by cross attention, which have no place in the text: cannot be run in a batch."""
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessorPil, MllamaProcessor

    tokenizer = _tokenizer("<|image|>")
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_global_layers": 1}
    text = {**_TEXT, **_token_ids(tokenizer), "cross_attention_layers": [1]}
    config = MllamaConfig(
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
        vision_config={
            **vision, "attention_heads": 2, "image_size": 32, "patch_size": 16, "max_num_tiles": 1,
            "intermediate_layers_indices": [0], "vision_output_dim": 128, "supported_aspect_ratios": [[1, 1]],
        },
        text_config={**text, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    )  # fmt: skip
    image_processor = MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=1)
    processor = MllamaProcessor(image_processor, tokenizer, chat_template=_IDEFICS3.replace("<image>", "<|image|>"))
    _save(MllamaForConditionalGeneration, config, tokenizer, folder, seed)
    processor.save_pretrained(folder)
    return folder


# Those that are run in a batch.
ARCHITECTURES = {
    "idefics3": save_idefics3,
    "gemma3": save_gemma3,
    "qwen3_vl": save_qwen3_vl,
    "llava_onevision": save_llava_onevision,
    "internvl": save_internvl,
}
SAVERS = {**ARCHITECTURES, "mllama": save_mllama}


def _for_photos_only(whole: Any) -> Any:
    """The processor without its part for videos, which needs torchvision."""

    def parts(_: Any) -> list[str]:
        return ["image_processor", "tokenizer"]

    return type(whole.__name__, (whole,), {"get_attributes": classmethod(parts)})


def _save(architecture: Any, config: Any, tokenizer: Any, folder: Path, seed: int, **generation: Any) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = architecture(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # further apart than training starts: what is seen must show in the logits
            if parameter.ndim > 1:
                parameter.mul_(3.0)
                if not parameter.any():  # Gemma 3's projection of the photo begins at zero: it would be blind
                    parameter.normal_(0.0, 0.2)
    settings = model.generation_config
    settings.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **generation)
    model.save_pretrained(folder)


def _token_ids(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _write(folder: Path, name: str, **content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def _tokenizer(*marks: str, **named: Any) -> Any:
    """A byte-level tokenizer trained on nothing: every text can be written, a few words are tokens of their own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(word, normalized=False) for word in WORDS if len(word) > 1])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token=END,
        unk_token="<unk>",
        pad_token="<pad>",
        **named,
    )
    tokenizer.add_tokens(list(marks), special_tokens=True)
    return tokenizer
