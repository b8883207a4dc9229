"""Characters as people read and search them."""

from __future__ import annotations

import re
import unicodedata

# Letters and digits that East Asian keyboards write at full width, and what stands between them in a code.
_FULL_WIDTH = re.compile(r"[０-９Ａ-Ｚａ-ｚ]+(?:[－．／＿][０-９Ａ-Ｚａ-ｚ]+)*")
# Forms of letters for printing alone: ligatures, half-width katakana, joined Arabic letters.
_PRESENTED = re.compile(r"[\ufb00-\ufb06\uff66-\uff9f\ufb50-\ufbb1\ufbd3-\ufd3d\ufd50-\ufdfb\ufe70-\ufefc]+")
_NEVER_SEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
# Joiners and marks of direction mean something in other scripts, and nothing after a Latin letter.
_JOINED = re.compile(r"(?<=[\x21-\u058f])[\u200c-\u200f]+")


def readable(text: str) -> str:
    """The text without soft hyphens and characters of no width, codes at full width and ligatures in plain letters.

    Superscripts, fractions and units stay as they are: ``10²`` is not ``102``."""
    if text.isascii():
        return text
    text = _JOINED.sub("", text.translate(_NEVER_SEEN))
    text = _FULL_WIDTH.sub(lambda code: unicodedata.normalize("NFKC", code.group()), text)
    return unicodedata.normalize("NFC", _PRESENTED.sub(lambda part: unicodedata.normalize("NFKC", part.group()), text))
