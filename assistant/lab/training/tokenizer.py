"""The small model's tokenizer: byte-level BPE, trained on the product's prompts and the model's answers.

Digits and the letters of options are single tokens: codes are read character by character.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from string import ascii_uppercase, digits
from typing import Any

from assistant import sample
from assistant.lab.training import questions
from assistant.lab.training.prompts import CHAT_TEMPLATE, END, decision_text
from assistant.lab.training.world import Scene

VOCABULARY = 2048
_MARKS = ("<fake_token_around_image>", "<image>", "<global-img>", END)


def train(scenes: list[Scene]) -> Any:
    """A `PreTrainedTokenizerFast` trained on questions and answers about these scenes and on the sample's articles."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    backend.pre_tokenizer = pre_tokenizers.Sequence(split)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 16, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<pad>", "<s>", "<unk>"],
    )  # fmt: skip
    backend.train_from_iterator(_corpus(scenes), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token=END, unk_token="<unk>", pad_token="<pad>",  # noqa: S106
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    tokenizer.add_tokens(list(_MARKS), special_tokens=True)
    for single in (*ascii_uppercase, *digits, "Yes", "No"):
        if len(tokenizer(single, add_special_tokens=False)["input_ids"]) != 1:
            raise ValueError(f"{single!r} is not a single token: train on more scenes.")
    return tokenizer


def processor(tokenizer: Any) -> Any:
    """The model's processor: photos are resized to one square, without splitting."""
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    from assistant.lab.training.architecture import IMAGE_TOKENS
    from assistant.lab.training.patches import SIDE

    size = {"longest_edge": SIDE}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size={"longest_edge": 4 * SIDE}, max_image_size=size)
    return Idefics3Processor(images, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)


def _corpus(scenes: list[Scene]) -> Iterator[str]:
    random = Random(0)
    for path in sorted(sample.articles_dir().glob("*.md")):
        yield path.read_text(encoding="utf-8")
    for scene in scenes:
        yield "Assistant:Yes Assistant:No Yes No"
        yield questions.evidence_answer(scene)
        for asked in [*questions.read_photo_questions(scene), *questions.typed(random, scene)]:
            yield decision_text(asked)
        for opened in questions.open_questions(random, scene):
            yield f"{opened.text} {opened.answer}"
