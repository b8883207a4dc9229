"""Whether a photo should be taken once more, told by what was read in it."""

from __future__ import annotations

from assistant.ports import Box
from assistant.skills.read_photo import PhotoEvidence
from assistant.text.identifiers import certain

_EDGE = 0.005  # of the photo's side: a box that ends here goes on beyond it


def is_cut_off(evidence: PhotoEvidence) -> bool:
    """Whether a code or number runs out of the photo at its beginning or end."""
    sideways = evidence.turn in (90, 270)
    return any(certain(line.text) and _is_at_edge(line.box, sideways) for line in evidence.visible_text)


def _is_at_edge(box: Box, sideways: bool) -> bool:
    """At one edge: what fills the photo from one to the other is a close-up."""
    begin, end = (box.top, box.bottom) if sideways else (box.left, box.right)
    return (begin <= _EDGE) != (end >= 1 - _EDGE)
