"""Which language a text is in."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

LANGUAGES = tuple(
    "af am an ar as az be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr ga gl gu he hi "
    "hr ht hu hy id is it ja jv ka kk km kn ko ku ky la lb lo lt lv mg mk ml mn mr ms mt ne nl nn no "
    "oc or pa pl ps pt qu ro ru rw se si sk sl sq sr sv sw ta te th tl tr ug uk ur vi vo wa xh zh zu".split()
)
_LEAST_LETTERS = 4
_lock = threading.Lock()


def detect(text: str) -> tuple[str, float]:
    """(ISO 639-1 code, probability); ("en", 0) for a text with hardly any letters."""
    letters = sum(character.isalpha() for character in text)
    if letters < _LEAST_LETTERS:
        return "en", 0.0
    with _lock:  # the identifier is not thread-safe
        language, probability = _identifier().classify(text[:2000])
    # Its probabilities are near 1 even for two words, so the confidence is scaled by the text's length.
    return str(language), float(probability) * min(1.0, 0.5 + letters / 80)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Without this, small languages and dialects win short texts by chance.
    identifier.set_languages(sorted(set(identifier.labels) & set(LANGUAGES)))
    return identifier
