"""Where a text may be cut: between what readers see as characters (grapheme clusters), so that no accent, flag, family
emoji or syllable falls apart."""

from __future__ import annotations

import regex

_NEAR = 200
_CLUSTER = regex.compile(r"\X")


def beginning(text: str, most: int) -> str:
    """At most ``most`` code points of the text, cut between two clusters unless the first one alone is longer."""
    if len(text) <= most:
        return text
    # Whether a cluster ends depends on what precedes, and on one character more. A long run of flags takes quadratic
    # time, so only what is near counts.
    start = max(0, most - _NEAR)
    near = text[start : most + 1]
    if near.isascii() and "\r" not in near:
        return text[:most]
    ends = [start + cluster.end() for cluster in _CLUSTER.finditer(near)]
    return text[: max((end for end in ends if end <= most), default=most)]


def shorten(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis, ``most`` long in all. It ends with a word if one ends nearby: there
    are scripts without blanks, and words longer than a line."""
    if len(text) <= most:
        return text
    start = beginning(text, most - 1)
    blank = start.rfind(" ")
    return (start[:blank] if blank > most * 2 // 3 else start).rstrip() + "…"
