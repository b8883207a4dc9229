"""Inboxes as forms: every setting of one in words that can be typed, and read back into what it was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.desk.hours import Hours
from assistant.desk.inboxes import InboxSettings, Question
from assistant.errors import Invalid

DAYS = {
    "mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday",
    "sun": "Sunday",
}  # fmt: skip
KEPT = ("keep_files_days", "keep_conversations_days")
ASKS = (("no", "Not asked"), ("optional", "Asked"), ("required", "Required"))


def written(settings: InboxSettings) -> dict[str, str]:
    """What the fields of the form show, by their names."""
    hours = settings.hours
    week = hours.week if hours is not None else {}
    return {
        "language": settings.language or "",
        "greeting": settings.greeting,
        "quick_replies": "\n".join(settings.quick_replies),
        "accent": settings.accent or "",
        "origins": "\n".join(settings.origins),
        "contact": settings.contact or "",
        "zone": hours.zone if hours is not None else "",
        **{day: ", ".join(week.get(day, ())) for day in DAYS},  # type: ignore[call-overload]
        "holidays": "\n".join(day.isoformat() for day in sorted(hours.holidays)) if hours is not None else "",
        "ask_name": settings.prechat.name,
        "ask_email": settings.prechat.email,
        "questions": _questions_written(settings.prechat.questions),
        **{name: str(getattr(settings, name) or "") for name in KEPT},
    }


def read(form: Mapping[str, str]) -> dict[str, Any]:
    """The settings that were typed, as `inboxes.configure` takes them. Raises `Invalid` for what cannot be read."""
    week = {day: _split(form.get(day, ""), ",") for day in DAYS if form.get(day, "").strip()}
    zone, holidays = form.get("zone", "").strip(), form.get("holidays", "").split()
    if not zone and (week or holidays):
        raise Invalid("Business hours need a time zone, such as Europe/Berlin.", field="zone")
    questions = _questions_read(form.get("questions", ""))
    return {
        "language": form.get("language", "").strip() or None,
        "greeting": form.get("greeting", "").strip() or None,
        "quick_replies": _split(form.get("quick_replies", ""), "\n") or None,
        "accent": form.get("accent", "").strip() or None,
        "origins": form.get("origins", "").split() or None,
        "contact": form.get("contact", "").strip() or None,
        "hours": {"zone": zone, "week": week, "holidays": holidays} if zone else None,
        "prechat": {
            "name": form.get("ask_name") or "no",
            "email": form.get("ask_email") or "no",
            "questions": questions,
        },
        **{name: _days_read(name, form.get(name, "")) for name in KEPT},
    }


def _days_read(name: str, text: str) -> int | None:
    if text.strip() and not text.strip().isdecimal():
        raise Invalid("Write a number of days, or nothing to keep everything.", field=name)
    return int(text) if text.strip() else None


def _questions_written(questions: Sequence[Question]) -> str:
    """A line each, ``key* | text | choice | choice``, the star where it is required; as JSON if that cannot say it."""
    if any("|" in part for one in questions for part in (one.text, *one.choices)):
        return json.dumps([one.model_dump(mode="json") for one in questions], ensure_ascii=False, indent=1)
    lines = ([one.key + ("*" if one.required else ""), one.text, *one.choices] for one in questions)
    return "\n".join(" | ".join(line) for line in lines)


def _questions_read(text: str) -> list[dict[str, Any]]:
    if text.strip().startswith("["):
        try:
            read: list[dict[str, Any]] = json.loads(text)
        except ValueError as error:
            raise Invalid(f"The questions are not JSON: {error}.", field="questions") from error
        return read
    questions = []
    for line in _split(text, "\n"):
        key, *rest = (part.strip() for part in line.split("|"))
        if not rest:
            raise Invalid(f"{line[:80]!r} is no question: write key | question | choice.", field="questions")
        is_required = key.endswith("*")
        questions.append(
            {"key": key.rstrip("* "), "text": rest[0], "choices": rest[1:], "required": is_required},
        )
    return questions


def _split(text: str, at: str) -> list[str]:
    return [part.strip() for part in text.split(at) if part.strip()]


def shown_hours(hours: Hours | None) -> str:
    return f"{len(hours.week)} days a week, {hours.zone}" if hours is not None else "Always"
