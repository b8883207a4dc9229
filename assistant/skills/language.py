"""The language of a text, and whether the customer asks for a person or only says hello or thanks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from assistant.text.languages import LANGUAGES, detect
from assistant.wording import ENGLISH, Notice, choose, word

__all__ = ["LANGUAGES", "courtesy", "detect", "wants_person"]

_LONGEST_SMALL_TALK = 80
_WANTS_PERSON = re.compile(
    r"\b(?:(?:speak|talk|chat|connect|transfer|pass)\w*\b.{0,25}\b(?:human|person|agent|someone|somebody|representative|"
    r"operator|people|staff|colleague|real)|(?:real|actual|live)\s+(?:human|person|agent|people)|human\s+(?:agent|being|"
    r"please|support)|customer\s+service\s+(?:agent|rep)|(?:want|need|get|give)\s++(?:me\s++)?(?:a|an|some)?\s*+(?:human|agent|"
    r"real person|representative|operator)|"
    r"mit\s++(?:einem|einer)?\s*+(?:echten\s++)?(?:mensch\w*|mitarbeiter\w*|person|berater\w*)|mitarbeiter\w*\s+sprechen|"
    r"parler\s+(?:à|a|avec)\s+(?:un|une|quelqu)|(?:un|une)\s+(?:vrai|vraie)\s+(?:conseiller|personne|humain)|"
    r"hablar\s+con\s+(?:un|una|alguien)|parlare\s+con\s+(?:un|una|qualcuno)|falar\s+com\s+(?:um|uma|algu)|"
    r"(?:met\s+een|een\s+echte)\s+(?:mens|persoon|medewerker))\b",
    re.IGNORECASE,
)
_THANKS = (
    r"(?:thanks?|thank\s+you|thx|cheers|danke(?:\s+(?:schön|sehr))?|vielen\s+dank|merci(?:\s+beaucoup)?|gracias|grazie|"
    r"obrigad[oa]|dank\s+je)"
)
_HELLO = (
    r"(?:hi|hello|hey|good\s+(?:morning|afternoon|evening|day)|hallo|guten\s+(?:tag|morgen|abend)|bonjour|salut|hola|"
    r"ciao|olá|hoi)"
)
_FILLER = (
    r"(?:ok(?:ay)?|great|perfect|super|bye|there|team|very\s+much|so\s+much|a\s+lot|everyone|again|"
    r"for\s+(?:your|the)\s+help)"
)
_GAP = r"[\s,.!?:)🙂👍]*+"
# May end with a name: "Thank you, Alice!"
_SMALL_TALK = re.compile(
    rf"{_GAP}(?:(?:{_THANKS}|{_HELLO}|{_FILLER})(?!\w){_GAP})+(?<=[\s,.!?])(?-i:[A-ZÄÖÜÉ][a-zäöüßéèç]+)?{_GAP}"
    rf"|{_GAP}(?:(?:{_THANKS}|{_HELLO}|{_FILLER})(?!\w){_GAP})+",
    re.IGNORECASE,
)
_SAYS_HELLO = re.compile(rf"\b{_HELLO}(?!\w)", re.IGNORECASE)
_SAYS_THANKS = re.compile(rf"\b{_THANKS}(?!\w)", re.IGNORECASE)


def wants_person(text: str) -> bool:
    """Whether the customer asks for a person, in one of seven European languages."""
    return _WANTS_PERSON.search(text) is not None


def courtesy(text: str, expected: Mapping[str, float] | None = None) -> str | None:
    """The reply to a text that is nothing but a greeting or thanks, in its language; None for any other text.
    ``expected``: the prior for its language."""
    if len(text) > _LONGEST_SMALL_TALK or _SMALL_TALK.fullmatch(text.strip()) is None:
        return None
    greets = _SAYS_HELLO.search(text) and not _SAYS_THANKS.search(text)
    spoken, _ = detect(text, expected)
    return word(Notice("courtesy_hello" if greets else "courtesy_thanks"), choose([spoken]) or ENGLISH)
