"""What triage knows before any ticket has been labelled: descriptions and example sentences for the fixed fields.

Options are compared with the ticket by the similarity of sentences. Safety is matched by words instead: a battery on
fire must not depend on how close two vectors are.
"""

from __future__ import annotations

import re

from assistant.skills.taxonomy import Label

TYPES = (
    Label("question", "Question", "The customer asks how something works or for information.", (
        "How do I clean this?", "Where can I find my invoice?", "Does this work with my model?",
        "I would like to know when it arrives.", "Can you tell me what this light means?",
    )),
    Label("incident", "Incident", "Something that worked is broken or does not work for one customer.", (
        "It stopped working.", "I get an error.", "My device is broken.", "It arrived damaged.",
        "The screen stays black.",
    )),
    Label("problem", "Problem", "The same fault comes back or many people have it.", (
        "It happens again and again.", "This is the third time it breaks.", "Everyone here has the same fault.",
        "The outage affects all our users.", "It still fails after the repair.",
    )),
    Label("task", "Task", "The customer wants something done.", (
        "Please cancel my order.", "Please change my address.", "I want to return it.", "Refund me.",
        "Delete my account.",
    )),
)  # fmt: skip

PRIORITIES = (
    Label("low", "Low", "No hurry: praise, ideas, general questions.", (
        "Just a suggestion.", "Thank you, it works great.", "No hurry, I was only wondering.", "When you have time.",
    )),
    Label("normal", "Normal", "An ordinary question or fault.", (
        "How do I do this?", "I have a question about my order.", "One function does not work.",
        "I would like to return it.", "The display shows a message.",
    )),
    Label("high", "High", "The customer cannot use what they bought, or is very upset.", (
        "It does not work at all any more.", "I need this solved soon.", "I am very disappointed and angry.",
        "I was charged twice.", "Nobody answers me.", "It arrived broken.",
    )),
    Label("urgent", "Urgent", "Danger, injury, a whole business at a standstill.", (
        "There is smoke coming out of it.", "Someone was hurt.", "Everything is down and nobody can work.",
        "It is on fire.", "The battery is swelling up.", "Emergency, please call immediately.",
    )),
)  # fmt: skip

SENTIMENTS = (
    Label("positive", "Positive", "Happy, thankful, praising.", (
        "Thank you so much, great service!", "I love it.", "Works perfectly, I am very happy.",
        "Awesome, you guys rock.",
    )),
    Label("neutral", "Neutral", "Matter of fact.", (
        "How do I reset it?", "I would like to change my address.", "The display shows E21.",
        "What time do you open?", "Please send me the invoice.", "Is it possible to exchange it?",
    )),
    Label("negative", "Negative", "Annoyed, angry, disappointed.", (
        "This is unacceptable.", "I am very disappointed.", "Worst service ever.", "I am angry and want my money back.",
        "I have been waiting for weeks and nobody answers.", "It broke again, what a waste of money.",
    )),
)  # fmt: skip

NEEDS_HUMAN = (
    Label("no", "No", "Articles can answer it.", (
        "How do I clean the filter?", "What does this code mean?", "How long is the warranty?", "Where is my invoice?",
        "How can I return it?", "It blinks red.",
    )),
    Label("yes", "Yes", "Danger, injury, lawyers, threats, privacy, or a decision only a person may take.", (
        "Someone was injured by your product.", "My lawyer will contact you.", "There was smoke and fire.",
        "I will report you to the authorities.", "I demand compensation for the damage.",
        "You have leaked my personal data.", "The battery is swollen.",
    )),
)  # fmt: skip

# Words that signal danger, in English, German, French, Spanish and Italian.
_DANGER = re.compile(
    r"\b(?:smok(?:e|ing|ed)|(?:on|caught|catch\w*|started? (?:a|an)) fire|flames?|"
    r"burn(?:t|ed|ing) (?:smell|plastic|my|hand|finger)|"
    r"smell\w* (?:of |like )?burn\w*|explo(?:de|ded|sion|ding)|electr(?:ic(?:al)? shock|ocuted)|got (?:a )?shocked?|"
    r"injur\w+|hospital|bleeding|swollen|swelling|bulg(?:e|es|ed|ing)|melt(?:ed|ing)|sparks?|sparking|gas leak|"
    r"rauch\w*|qualm\w*|brennt|gebrannt|feuer|flammen?|verletzt\w*|stromschlag|aufgebläht\w*|explodiert|"
    r"fum[ée]e|feu|bless[ée]\w*|explos[ée]\w*|humo|fuego|herid[oa]|fumo|fuoco|ferit[oa])\b",
    re.IGNORECASE,
)
_NO_DANGER = re.compile(
    r"\b(?:no|not|without|kein\w*|ohne)\s+(?:any\s+)?(?:smoke|fire|sparks?|injur\w+|rauch|feuer)\b", re.I
)
_SMOKE_DETECTOR = re.compile(
    r"\b(?:smoke\s+(?:detector|alarm|sensor)|rauchmelder|fire\s?(?:wall|fox|stick|tv))\w*", re.I
)
_LEGAL = re.compile(
    r"\b(?:lawyer|attorney|solicitor|sue|suing|lawsuit|legal action|court|anwalt|rechtsanwalt|avocat|abogado|avvocato|"
    r"gdpr|data protection (?:authority|officer))\b",
    re.IGNORECASE,
)


def is_dangerous(text: str) -> bool:
    """Whether the text mentions fire, smoke, injury, electric shock or a swollen battery."""
    return _DANGER.search(_SMOKE_DETECTOR.sub(" ", _NO_DANGER.sub(" ", text))) is not None


def is_legal(text: str) -> bool:
    """Whether the text mentions lawyers, courts or data protection authorities."""
    return _LEGAL.search(text) is not None
