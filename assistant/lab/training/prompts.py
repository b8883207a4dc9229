"""The prompts that training shares with serving.

The decision prompt is rendered by transformers' own template, from the request that the engine would send.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase

from assistant.lab.training.questions import Asked, Open, evidence_answer, evidence_prompt
from assistant.lab.training.world import Scene
from assistant.ports import Question

END = "<end_of_utterance>"
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role | capitalize }}:{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True)
class Turn:
    """The text after the photo in the user's turn, and the assistant's answer.

    ``claim`` is what a yes-or-no question is about, verbatim from the text; ``holds`` whether the photo confirms it."""

    name: str
    text: str
    answer: str
    claim: str = ""
    holds: bool = False


def decision_text(asked: Asked, *, photo: bool = True) -> str:
    """The user's text of a decision prompt, after the photo."""
    from transformers.decision import DecisionConfig
    from transformers.decision.template_utils import DECISION_PROMPT, parse_questions
    from transformers.utils.chat_template_utils import _compile_jinja_template

    question = parse_questions({"0": requested(asked.question)}, DecisionConfig())[0]
    text = str(_compile_jinja_template(DECISION_PROMPT).render(state=asked.state, question=question))
    return "\n" + text if photo else text


def decision_turn(asked: Asked) -> Turn:
    if asked.question.kind == "yes_no":
        yes = asked.answer == "yes"
        # For a contradiction, yes means that the text is wrong.
        claim, holds = (asked.state, not yes) if asked.state else (asked.question.text, yes)
        return Turn(asked.name, decision_text(asked), "Yes" if yes else "No", claim, holds)
    return Turn(asked.name, decision_text(asked), ascii_uppercase[asked.question.options.index(asked.answer)])


def evidence_turn(scene: Scene) -> Turn:
    return Turn("evidence", evidence_prompt(), evidence_answer(scene))


def open_turn(opened: Open) -> Turn:
    return Turn(opened.name, opened.text, opened.answer)


def requested(question: Question) -> dict[str, object]:
    """A question in the format of transformers' decision pipeline; a test compares it with what the engine sends."""
    if question.kind == "yes_no":
        return {"type": "noul", "instructions": question.text, "criteria": {"true": None, "false": None}}
    descriptions = question.descriptions or ("",) * len(question.options)
    criteria = {option: text or None for option, text in zip(question.options, descriptions, strict=True)}
    return {"type": "choice", "instructions": question.text, "criteria": criteria}
