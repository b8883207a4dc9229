"""The API's answers as a language model can use them: without regions, heat maps and what is null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ALTERNATIVES = 3
_READINGS = ("product", "condition", "lights", "caption", "total", "date", "order", "quality", "orientation", "frames")
Answer = Mapping[str, Any]


def assessment(answer: Answer) -> dict[str, Any]:
    return {
        "triage": triage(answer["triage"]["fields"]),
        "photos": [evidence(one) for one in answer["evidence"]],
        "answer": draft(answer["draft"]) if answer["draft"] is not None else None,
        "passages": passages(answer["passages"]),
        "rejected_files": rejected(answer),
        "model": answer["triage"]["model"],
        "mode": answer["triage"]["mode"],
    }


def triage(fields: Iterable[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "field": one["name"],
            "value": one["corrected_value"] or one["value"],
            "probability": one["probability"],
            "abstained": one["abstained"],
            "status": one["status"],
            "alternatives": {other["value"]: other["probability"] for other in one["alternatives"][:_ALTERNATIVES]},
        }
        for one in fields
    ]


def evidence(read: Answer) -> dict[str, Any]:
    """What was read in one photo."""
    readings = {
        name: {"value": read[name]["value"], "confidence": read[name]["confidence"]}
        for name in _READINGS
        if read.get(name) is not None
    }
    lines = [{"text": line["text"], "confidence": line["confidence"]} for line in read["visible_text"]]
    return {"photo": read["filename"], **readings, "visible_text": lines, "model": read["model"], "mode": read["mode"]}


def answered(asked: Answer) -> dict[str, Any]:
    """A question about a photo."""
    names = ("question", "answer", "confidence", "regions", "answered_by", "model", "reason")
    return {name: asked[name] for name in names}


def rejected(answer: Answer) -> list[dict[str, Any]]:
    return [{"file": one["filename"], "why": one["detail"]} for one in answer["rejected_files"]]


def passages(found: Iterable[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "article": one["article_title"],
            "heading": one["heading"],
            "url": one["url"],
            "text": one["text"],
            "score": one["score"],
        }
        for one in found
    ]


def draft(proposed: Answer) -> dict[str, Any]:
    citations = [
        {"sentence": one["sentence"], "article": one["article_title"], "quote": one["quote"], "url": one["url"]}
        for one in proposed["citations"]
    ]
    return {
        "text": proposed["text"],
        "confidence": proposed["confidence"],
        "handoff_reason": proposed["handoff_reason"],
        "citations": citations,
    }


def summary(ticket: Answer) -> dict[str, Any]:
    names = ("id", "number", "subject", "status", "priority", "category", "product", "tags", "created_at", "updated_at")
    whose = {"requester": ticket["requester"]["name"], "inbox": ticket["inbox"]}
    team = ticket["team"]["key"] if ticket["team"] is not None else None
    return {**{name: ticket[name] for name in names}, **whose, "team": team}


def ticket(whole: Answer) -> dict[str, Any]:
    return {
        **summary(whole),
        "messages": [_message(one) for one in whole["messages"]],
        "triage": triage(whole["triage"]["fields"] if whole["triage"] is not None else ()),
        "drafts": [{"status": one["status"], **draft(one)} for one in whole["drafts"]],
    }


def _message(message: Answer) -> dict[str, Any]:
    files = message["attachments"]
    return {
        "author": message["author"],
        "visibility": message["visibility"],
        "created_at": message["created_at"],
        "text": message["new_text"],
        "photos": [
            {"id": one["id"], **evidence(one["evidence"]), "questions": [answered(asked) for asked in one["questions"]]}
            for one in files
            if one["evidence"] is not None
        ],
        "other_files": [one["filename"] for one in files if one["evidence"] is None],
        "contradictions": message["contradictions"],
    }
