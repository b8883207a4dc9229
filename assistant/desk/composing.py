"""What agents ask for while they answer: another draft, or a passage to put into what they write.

A draft is made again, or rewritten, at once and not by a job: whoever asked is waiting for it. No transaction is open
while the model works, so the ticket may move on meanwhile: what comes too late is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from langchain_core.documents import Document
from sqlalchemy.orm import Session

from assistant.desk import drafts, inboxes, reports, state, turns
from assistant.desk.access import AgentPrincipal, access_ticket
from assistant.desk.answers import answer_skill
from assistant.desk.courtesy import last_request
from assistant.desk.desk import Desk
from assistant.errors import Conflict, NotFound
from assistant.models import Citation, Conversation, Draft, Ticket
from assistant.ports import WorkPriority, at_priority
from assistant.skills.answer import Answer
from assistant.skills.rewrite import Rewriting, Sentence, Wish, can_shorten, rewrite
from assistant.text.languages import detect
from assistant.text.sentences import sentences
from assistant.wording import LANGUAGES, english_name

AGAIN = "again"
_TOO_LATE = "It took too long: the ticket has moved on, and what was made is out of date."


def wishes(desk: Desk, draft: Draft) -> list[str]:
    """What can be asked for in place of an offered draft: to draft again, a manner, and languages that it is not in."""
    quoted = len({citation.sentence for citation in draft.citations})
    found = [AGAIN, Wish.SHORTER.value] if can_shorten(desk.capabilities, quoted) else [AGAIN]
    if desk.capabilities.writes_answers:
        written, _ = detect(draft.text)
        found += [Wish.FRIENDLIER.value, *(one for one in LANGUAGES if one != written)]
    return found


def redraft(desk: Desk, agent: AgentPrincipal, ticket_id: str, draft_id: str, wish: str, *, text: str = "") -> Draft:
    """Offer another draft in place of this one. ``text``: as the agent has edited it, which is what is rewritten.

    Raises `Conflict` if nothing better can be said, or if the ticket has moved on: then all is as it was."""
    with desk.db.read() as session:
        row = access_ticket(session, agent, ticket_id)
        old = _replaceable(session, row, draft_id)
        old_id, message_id, citations = old.id, old.answers_message_id, list(old.citations)
        parts, cited = _cut(text.strip() or old.text, citations)
        before = old.text
    started = perf_counter()
    situation = turns.situation_of(desk, message_id)
    made: Answer | Rewriting
    with at_priority(WorkPriority.INTERACTIVE):
        if wish == AGAIN:
            made = answer_skill(desk, situation.inbox).invoke(situation.request)
            if made.text == before:
                raise Conflict("The articles give the same again." if before else "There is still no answer to this.")
        else:
            never_say = inboxes.settings_of(situation.inbox).never_say
            made = _rewrite(desk, parts, wish, situation.request.language[0], never_say)
    with desk.db.begin() as session:
        row = access_ticket(session, agent, ticket_id)
        conversation = state.lock_conversation(session, row.conversation_id)
        offered = drafts.replaceable_draft(session, conversation)
        if offered is None or offered.id != old_id or turns.is_outdated(session, situation, message_id):
            raise Conflict(_TOO_LATE)
        seconds = perf_counter() - started
        if isinstance(made, Answer):
            new = drafts.draft_of(session, made, desk.capabilities, message_id=message_id)
            turns.record(session, desk, situation, made, seconds=seconds)
        else:
            new = _rewritten(offered, parts, cited, made)
            _record(session, desk, conversation, made, seconds)
        new.wish = wish
        return drafts.replace_draft(session, agent, row, offered, new)


def passages(desk: Desk, agent: AgentPrincipal, ticket_id: str, query: str = "") -> list[Document]:
    """Passages that the ticket's customer may read, the best first: for what they asked last, or for ``query``."""
    with desk.db.read() as session:
        row = access_ticket(session, agent, ticket_id)
        asked = last_request(session, row.conversation_id)
    if asked is None:
        return []
    situation = turns.situation_of(desk, asked.id)
    request = situation.request
    if query:
        request = replace(request, text=query, subject="", history=(), evidence=(), photos=(), rejected=frozenset())
    with at_priority(WorkPriority.INTERACTIVE):
        return answer_skill(desk, situation.inbox).find(request)


def _replaceable(session: Session, row: Ticket, draft_id: str) -> Draft:
    """Raises `NotFound` or `Conflict`."""
    draft = drafts.access_draft(session, row, draft_id)
    offered = drafts.replaceable_draft(session, row.conversation)
    if offered is None or offered.id != draft.id:
        raise Conflict("This draft is no longer offered. Nothing was changed.")
    return draft


def _rewrite(desk: Desk, parts: Sequence[Sentence], wish: str, spoken: str, never_say: Sequence[str]) -> Rewriting:
    if not parts:
        raise Conflict("There is no draft to rewrite.")
    if wish in LANGUAGES:
        return rewrite(parts, Wish.TRANSLATED, desk.capabilities, language=english_name(wish), never_say=never_say)
    if wish not in (Wish.SHORTER, Wish.FRIENDLIER):
        raise NotFound("A draft cannot be had like that.")
    return rewrite(parts, Wish(wish), desk.capabilities, language=spoken, never_say=never_say)


def _cut(text: str, citations: Sequence[Citation]) -> tuple[list[Sentence], list[list[Citation]]]:
    """The sentences of a text and, for each, the citations that it has kept. What an agent wrote has none."""
    found: list[str] = []
    by_sentence: dict[str, list[Citation]] = {}
    for one in sorted(citations, key=lambda one: one.sentence_index):
        by_sentence.setdefault(one.sentence, []).append(one)
    at = 0
    for sentence in by_sentence:
        start = text.find(sentence, at) if sentence else -1
        if start >= 0:
            found += [*sentences(text[at:start]), sentence]
            at = start + len(sentence)
    found += sentences(text[at:])
    parts, cited, at = [], [], 0
    for sentence in found:
        start = text.index(sentence, at)
        own = by_sentence.get(sentence, [])
        quotes = tuple(one.quote for one in own)
        support = max((one.support for one in own), default=None)
        parts.append(Sentence(sentence, text[at:start], quotes, support))
        cited.append(own)
        at = start + len(sentence)
    return parts, cited


def _rewritten(
    old: Draft, parts: Sequence[Sentence], cited: Sequence[Sequence[Citation]], rewriting: Rewriting
) -> Draft:
    """The rewriting as a draft. Each sentence cites what the sentences cited that it stands for. It is as sure as the
    draft was; if something was left out, not surer than what is left is supported."""
    text, rows = "", []
    for number, one in enumerate(rewriting.sentences):
        lead = parts[one.of[0]].lead or " "
        text += (lead if text else "") + one.text
        for place in one.of:
            for citation in cited[place]:
                row = drafts.copy_citation(citation)
                row.sentence, row.sentence_index = one.text, number
                rows.append(row)
    sure, left = old.confidence, max((row.support for row in rows), default=0.0)
    is_whole = len(rows) >= len(old.citations)
    return Draft(
        text=text,
        confidence=sure if sure is None or is_whole else min(sure, left),
        model=old.model,
        mode=old.mode,
        answers_message_id=old.answers_message_id,
        citations=rows,
    )


def _record(session: Session, desk: Desk, conversation: Conversation, rewriting: Rewriting, seconds: float) -> None:
    if desk.capabilities.writes_answers:
        reports.record_generation(
            session,
            desk,
            "rewrite",
            desk.capabilities,
            conversation_id=conversation.id,
            seconds=seconds,
            input_tokens=rewriting.input_tokens,
            output_tokens=rewriting.output_tokens,
        )
