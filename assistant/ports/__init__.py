"""The seams between the product and its models, beyond LangChain's own interfaces.

Chat models, embeddings, retrievers and documents are LangChain's. What LangChain has no interface for is here, a module
for each seam. The engine implements these, skills and retrieval use them, tests fake them. The modules import
nothing of the product but errors; import their names from here.
"""

from assistant.ports.capabilities import Capabilities, Mode, reading_revision
from assistant.ports.deadline import check_time, seconds_left, within
from assistant.ports.decisions import Decision, DecisionModel, Question, check_questions
from assistant.ports.handoff import HandoffReason
from assistant.ports.photos import (
    OCR,
    Box,
    Condition,
    Found,
    Look,
    Looks,
    PhotoFeatures,
    ProductRecogniser,
    Recognised,
    Seen,
    Sight,
    Sought,
    TextLine,
    image_block,
)
from assistant.ports.priority import WorkPriority, at_priority, current_priority
from assistant.ports.search import (
    UNRELATED,
    USUAL_STANDING,
    Embedder,
    PhotoEmbedder,
    Reranker,
    Scale,
    Standing,
    calibrate,
)

__all__ = [
    "OCR",
    "UNRELATED",
    "USUAL_STANDING",
    "Box",
    "Capabilities",
    "Condition",
    "Decision",
    "DecisionModel",
    "Embedder",
    "Found",
    "HandoffReason",
    "Look",
    "Looks",
    "Mode",
    "PhotoEmbedder",
    "PhotoFeatures",
    "ProductRecogniser",
    "Question",
    "Recognised",
    "Reranker",
    "Scale",
    "Seen",
    "Sight",
    "Sought",
    "Standing",
    "TextLine",
    "WorkPriority",
    "at_priority",
    "calibrate",
    "check_questions",
    "check_time",
    "current_priority",
    "image_block",
    "reading_revision",
    "seconds_left",
    "within",
]
