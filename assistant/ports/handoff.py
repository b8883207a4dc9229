"""Why a conversation goes to a person: skills decide it, the desk acts on it, the console shows it."""

from __future__ import annotations

from enum import StrEnum


class HandoffReason(StrEnum):
    """Shown to the agent, counted in reports."""

    CUSTOMER_ASKED = "customer_asked"
    MISSING_KNOWLEDGE = "missing_knowledge"  # no passage answers the question
    NOTHING_NEW = "nothing_new"  # what the articles say of it has been said already
    UNSUPPORTED_ANSWER = "unsupported_answer"  # the model's answer is not supported by its passages
    NEVER_SAID = "never_said"  # the answer has what the inbox never says
    NEEDS_HUMAN = "needs_human"  # triage says so: safety, legal, anger
    ENGINE_DOWN = "engine_down"
