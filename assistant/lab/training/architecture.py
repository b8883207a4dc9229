"""The small model's configuration: transformers' Idefics3 at a small size, with dimensions that NF4 accepts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from assistant.lab.training.patches import PATCH, SIDE

WIDTH = 256
IMAGE_TOKENS = (SIDE // PATCH // 2) ** 2


def configuration(tokenizer: Any) -> Any:
    from transformers import Idefics3Config

    return Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=True,
        vision_config=vision_settings(),
        text_config={
            "model_type": "llama",
            "hidden_size": WIDTH,
            "intermediate_size": 704,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "max_position_embeddings": 4096,
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
    )


def vision_settings() -> dict[str, int]:
    return {
        "hidden_size": WIDTH, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4,
        "image_size": SIDE, "patch_size": PATCH,
    }  # fmt: skip


def prepare_tower(tower: Any) -> None:
    """Initialise patch embeddings with cosines of rising frequency, and position embeddings with sines.

    From a random initialisation the tower needs hours to learn either.
    """
    with torch.no_grad():
        tower.embeddings.patch_embedding.weight.copy_(_cosines(WIDTH))
        tower.embeddings.patch_embedding.bias.zero_()
        tower.embeddings.position_embedding.weight.copy_(0.3 * _positions(SIDE // PATCH, WIDTH))


def _cosines(width: int) -> torch.Tensor:
    """(width, 3, PATCH, PATCH): the lowest frequencies of brightness, and fewer of two colour differences."""
    side = np.arange(PATCH)
    waves = np.cos(np.pi * (side[None, :] + 0.5) * np.arange(PATCH)[:, None] / PATCH) * math.sqrt(2 / PATCH)
    waves[0] /= math.sqrt(2)
    order = sorted((u * u + v * v, u, v) for u in range(PATCH) for v in range(PATCH))
    bright = width - 2 * (width // 8)
    colours = (((1, 1, 1), bright), ((1, -1, 0), width // 8), ((0.5, 0.5, -1), width // 8))
    rows = []
    for weights, count in colours:
        for squared, u, v in order[:count]:
            plane = np.outer(waves[u], waves[v]) * (0.08 + 0.06 * math.sqrt(squared))
            rows.append([plane * weight for weight in weights])
    return torch.tensor(np.array(rows), dtype=torch.float32)


def _positions(grid: int, width: int) -> torch.Tensor:
    """(grid * grid, width): sines and cosines of row and column (Vaswani et al. 2017, in two dimensions)."""
    steps = torch.arange(grid, dtype=torch.float32)
    rates = torch.exp(-math.log(100.0) * torch.arange(width // 4) / (width // 4))
    angles = steps[:, None] * rates[None, :]
    one = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    return torch.cat([one[:, None].expand(-1, grid, -1), one[None].expand(grid, -1, -1)], dim=-1).reshape(
        grid * grid, width
    )
