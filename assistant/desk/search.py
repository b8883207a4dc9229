"""The words of tickets: what is kept of each, in the transaction that changes it, and which tickets have given words.

A ticket has the words of its number and ids, its subject, its requester, its messages, notes and file names, what was
read in its photos, its tags and the values of its custom fields. Each word counts once, folded and cut by us, so both
databases (FTS5, tsvector) find the same, in every script. Identifiers are also kept in their canonical form: "E-21"
finds "e 21". So is what photos show ("red light"), as words that no text has.

Who may see a ticket may read all of it, so words need no permissions of their own: callers look among visible tickets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import regex
from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Select,
    cast,
    column,
    false,
    func,
    literal_column,
    select,
    table,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk.events import (
    DeskEvent,
    EvidenceCorrected,
    EvidenceRead,
    MessageCreated,
    NoteCreated,
    TicketOpened,
    TicketUpdated,
)
from assistant.models import Attachment, Author, Customer, Evidence, Message, Ticket
from assistant.skills.captions import seen_in
from assistant.text import identifiers
from assistant.text.folding import fold
from assistant.text.words import STOP_WORDS, query_words, words_of

# Changes of a ticket after which some of its words may be gone.
_REWRITES = frozenset({"tags", "fields", "requester", "subject"})
_LONGEST = 60  # characters of a word
_MOST = 12  # words of a query
_PREFIX_FROM = 2  # characters: what is being typed
_AT_ONCE, _MORE = 500, 8  # tickets with the words that are looked at first, and how many times as many next
_PAGES = 500  # of 4 KB, that are merged at once
_CHANGES = text("SELECT total_changes()")
_MERGED = 2  # fewer changes than that: as FTS5 documents it, there was nothing left to merge
# Letters, digits and marks: what both databases take for parts of words.
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+")
# What photos show begins with a letter that folding takes from all texts and queries: it becomes an "s".
_SHOWN = "ˢ"
_INDEX = table("fts_tickets", column("rowid"), column("ticket_id"), column("words"))


def learn(session: Session, conversation_id: int, event: DeskEvent) -> None:
    """Keep the words that an event brings."""
    match event:
        case TicketOpened(ticket) | TicketUpdated(ticket) if isinstance(event, TicketOpened) or (
            _REWRITES.intersection(event.changed)
        ):
            index(session, ticket)
        case MessageCreated(message) | NoteCreated(message):
            _add(session, _ticket_id(session, conversation_id), _of_message(message))
        case EvidenceRead(evidence=evidence) if isinstance(event, EvidenceCorrected) or _replaces(session, evidence):
            index(session, session.scalars(select(Ticket).where(Ticket.conversation_id == conversation_id)).one())
        case EvidenceRead(evidence=evidence):
            ticket_id = _ticket_id(session, conversation_id)
            _add(session, ticket_id, _of_evidence(evidence), words_shown(evidence.fields))


def index(session: Session, ticket: Ticket) -> None:
    """Find the ticket by its words as they are now, and by no others."""
    where = "ticket_id" if _is_postgresql(session) else "rowid"
    session.execute(text(f"DELETE FROM fts_tickets WHERE {where} = :id"), {"id": ticket.id})  # noqa: S608
    read = _evidence(session, ticket.conversation_id)
    texts = [*_all_of(session, ticket), *(one for evidence in read for one in _of_evidence(evidence))]
    _add(session, ticket.id, texts, [word for evidence in read for word in words_shown(evidence.fields)])


def index_requests_of(session: Session, customer: Customer) -> None:
    """A customer's name, address or id is another one now."""
    for ticket in session.scalars(select(Ticket).where(Ticket.requester_id == customer.id)):
        index(session, ticket)


def forget_erased(db: Database) -> None:
    """Let go of the words of tickets that are gone: FTS5 keeps them until the parts that they are in are merged. That
    is done some pages at a time, because nobody else can write meanwhile."""
    while db.is_sqlite:
        with db.begin() as session:
            before = session.execute(_CHANGES).scalar_one()
            session.execute(text("INSERT INTO fts_tickets (fts_tickets, rank) VALUES ('merge', :n)"), {"n": -_PAGES})
            if session.execute(_CHANGES).scalar_one() - before < _MERGED:
                return


def kept_words(session: Session) -> Iterator[Sequence[tuple[int, str]]]:
    """Ids of tickets with their words, some at a time, for `keep_words` of another database."""
    words = "array_to_string(tsvector_to_array(words), ' ')" if _is_postgresql(session) else "words"
    statement = text(f"SELECT {_id(session).name}, {words} FROM fts_tickets")  # noqa: S608
    for rows in session.execute(statement, execution_options={"yield_per": _AT_ONCE}).partitions():
        yield [(row[0], row[1]) for row in rows]


def keep_words(session: Session, rows: Iterable[tuple[int, str]]) -> None:
    """Find tickets by what `kept_words` has told of them. They must have no words yet."""
    words = "array_to_tsvector(string_to_array(:words, ' '))" if _is_postgresql(session) else ":words"
    add = text(f"INSERT INTO fts_tickets ({_id(session).name}, words) VALUES (:id, {words})")  # noqa: S608
    session.execute(add, [{"id": id_, "words": kept} for id_, kept in rows])


def has(session: Session, query: str) -> ColumnElement[bool]:
    """Of a `Ticket`: it has all words of the query, or what begins like the last."""
    return Ticket.id.in_(select(_id(session)).where(_matches(session, query)))


def has_code(session: Session, codes: Iterable[str], *, since: int | None = None) -> ColumnElement[bool]:
    """Of a `Ticket`: one of these identifiers is in it, however it is written, and not merely the beginning of one.

    ``since``: only of tickets from this id on, which is much faster where many have it."""
    words = [word for code in codes for word in _WORD.findall(identifiers.canonical(code).lower())]
    return _has_any(session, words, since)


def shows(session: Session, seen: Iterable[str], *, since: int | None = None) -> ColumnElement[bool]:
    """Of a `Ticket`: a photo of it shows one of these (`captions.seen_in`). ``since``: as of `has_code`."""
    return _has_any(session, [_shown(one) for one in seen], since)


def words_shown(fields: Mapping[str, Any]) -> list[str]:
    """What is kept of a photo, besides its words, by the fields of its evidence."""
    return [_shown(one) for one in seen_in(fields)]


def newest(session: Session, query: str, among: Select[Ticket], *, before: int | None, limit: int) -> list[int]:
    """Ids of tickets ``among`` these with the words of the query, newest first, below the id ``before``.

    Nine of ten tickets may have a word, and few of them be ``among`` these: so the newest with the words come first, as
    many as are needed."""
    key, found, at_once = _id(session), list[int](), _AT_ONCE
    matches = _matches(session, query)
    while True:
        some = select(key.label("id")).where(matches).order_by(key.desc()).limit(at_once)
        # Named once, so that both databases look the words up once.
        looked_at = (some if before is None else some.where(key < before)).cte()
        seen = select(func.min(looked_at.c.id).label("last"), func.count().label("number")).subquery()
        ids = among.with_only_columns(Ticket.id).where(Ticket.id.in_(select(looked_at.c.id)))
        shown = ids.order_by(Ticket.id.desc()).limit(limit - len(found)).subquery()
        rows = select(seen.c.last, seen.c.number, shown.c.id).join_from(seen, shown, true(), isouter=True)
        here = session.execute(rows.order_by(shown.c.id.desc())).all()
        found += [row.id for row in here if row.id is not None]
        if len(found) >= limit or here[0].number < at_once:
            return found
        before, at_once = here[0].last, at_once * _MORE


def words_in(texts: Iterable[str]) -> list[str]:
    """What is kept of texts, each word once."""
    return sorted(set(_words(texts)))


def _words(texts: Iterable[str]) -> Iterator[str]:
    for one in texts:
        for word in words_of(one):
            yield from (part for part in _WORD.findall(word) if len(part) <= _LONGEST)
        yield from (code.lower() for code in identifiers.spot(one) if len(code) <= _LONGEST)


def _all_of(session: Session, ticket: Ticket) -> list[str]:
    requester = ticket.requester
    texts = [str(ticket.number), ticket.public_id, ticket.subject]
    texts += [one for one in (requester.name, requester.email, requester.external_id) if one]
    texts += [*(tag.name for tag in ticket.tags), *ticket.fields.values()]
    messages = session.scalars(select(Message).where(Message.conversation_id == ticket.conversation_id)).all()
    return texts + [one for message in messages for one in _of_message(message)]


def _replaces(session: Session, evidence: Evidence) -> bool:
    """Whether the photo had been read before."""
    others = select(Evidence.id).where(Evidence.sha256 == evidence.sha256, Evidence.id != evidence.id)
    return session.scalar(others.limit(1)) is not None


def _evidence(session: Session, conversation_id: int) -> list[Evidence]:
    """What was read last in each of a conversation's photos, or what agents have corrected it to: as it counts
    (`evidence.evidence_of`)."""
    photos = select(Attachment.sha256).join(Attachment.message).where(Message.conversation_id == conversation_id)
    counts = Evidence.conversation_id.is_(None) | (Evidence.conversation_id == conversation_id)
    rows = list(session.scalars(select(Evidence).where(Evidence.sha256.in_(photos), counts)))
    rows.sort(key=lambda row: (row.corrects_id is not None, row.conversation_id is not None, row.id))
    return list({row.sha256: row for row in rows}.values())


def _of_message(message: Message) -> list[str]:
    said = [message.text] if message.author is not Author.SYSTEM else []
    return [*said, *(one.filename for one in message.attachments)]


def _of_evidence(evidence: Evidence) -> list[str]:
    told = [evidence.fields.get(name) or {} for name in ("caption", "product")]
    return [
        *(str(line.get("text") or "") for line in evidence.visible_text),
        *(str(one.get("value") or "") for one in told),
    ]


def _ticket_id(session: Session, conversation_id: int) -> int | None:
    return session.scalar(select(Ticket.id).where(Ticket.conversation_id == conversation_id))


def _shown(seen: str) -> str:
    return (_SHOWN + "".join(_WORD.findall(fold(seen))))[:_LONGEST]


def _add(session: Session, ticket_id: int | None, texts: Iterable[str], shown: Iterable[str] = ()) -> None:
    words = sorted({*_words(texts), *shown})
    if ticket_id is None or not words:
        return
    if _is_postgresql(session):
        add = """INSERT INTO fts_tickets (ticket_id, words) VALUES (:id, array_to_tsvector(CAST(:words AS text[])))
            ON CONFLICT (ticket_id) DO UPDATE SET words = fts_tickets.words || excluded.words"""
        session.execute(text(add), {"id": ticket_id, "words": words})
        return
    known = session.scalar(text("SELECT words FROM fts_tickets WHERE rowid = :id"), {"id": ticket_id})
    if known is None:
        add = "INSERT INTO fts_tickets (rowid, words) VALUES (:id, :words)"
    elif not (new := set(words).difference(known.split())):
        return
    else:
        add, words = "UPDATE fts_tickets SET words = :words WHERE rowid = :id", [known, *sorted(new)]
    session.execute(text(add), {"id": ticket_id, "words": " ".join(words)})


def _has_any(session: Session, words: Iterable[str], since: int | None) -> ColumnElement[bool]:
    postgresql = _is_postgresql(session)
    terms = [_quoted(word, postgresql=postgresql) for word in words]
    found = select(_id(session)).where(_finds(session, (" | " if postgresql else " OR ").join(terms)))
    return Ticket.id.in_(found if since is None else found.where(_id(session) >= since))


def _matches(session: Session, query: str) -> ColumnElement[bool]:
    postgresql = _is_postgresql(session)
    return _finds(session, (" & " if postgresql else " AND ").join(_terms(query, postgresql=postgresql)))


def _finds(session: Session, terms: str) -> ColumnElement[bool]:
    """``terms``: in the database's own language; nothing is found without any."""
    if not terms:
        return false()
    if _is_postgresql(session):
        return _INDEX.c.words.op("@@", is_comparison=True)(cast(terms, TSQUERY))
    return literal_column("fts_tickets").op("MATCH", is_comparison=True)(terms)


def _terms(query: str, *, postgresql: bool) -> Iterator[str]:
    """For each part of the query what must be there, in the database's own language. Nothing but letters, digits and
    marks goes in, quoted."""
    parts = [(part, [word for one in query_words(part) for word in _WORD.findall(one)]) for part in query.split()]
    known = [(part, words) for part, words in parts if words]
    telling = [(part, words) for part, words in known if not STOP_WORDS.issuperset(words)] or known
    for part, words in telling[:_MOST]:
        is_last = part == telling[-1][0] and len(words[-1]) >= _PREFIX_FROM and not query[-1:].isspace()
        every = [_quoted(word, postgresql=postgresql) for word in words]
        if is_last:
            every[-1] += ":*" if postgresql else "*"
        both, either = (" & ", " | ") if postgresql else (" AND ", " OR ")
        codes = [_quoted(code.lower(), postgresql=postgresql) for code in identifiers.spot(part)]
        yield "(" + either.join([f"({both.join(every)})", *codes]) + ")"


def _quoted(word: str, *, postgresql: bool) -> str:
    return f"'{word}'" if postgresql else f'"{word}"'


def _id(session: Session) -> ColumnClause[int]:
    return _INDEX.c.ticket_id if _is_postgresql(session) else _INDEX.c.rowid


def _is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
