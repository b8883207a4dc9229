"""Everything that is known of a person: handed over, and erased.

What derives from a person hangs on their row of ``customers`` by foreign keys that cascade, so both follow one walk
over the tables (`_walk`). What is kept by content and not by person (files, what was read in photos) goes unless
somebody else's names it, too. `APART` says of every other table why a person has no part in it: a test fails for a new
table that is in neither. `delete_rows` does the same from any row on, and `retention` from conversations.

Erasures are listed in a file beside the database, which a restored backup does not take back: `repeat` erases again.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from sqlalchemy import Column, ColumnElement, Select, Table, delete, or_, select
from sqlalchemy.orm import Session

from assistant.db import Base, Database, utcnow
from assistant.desk import files, search
from assistant.errors import Gone, NotFound
from assistant.models import (
    Attachment,
    Customer,
    CustomerMerge,
    Evidence,
    Gap,
    GapQuestion,
    Mail,
    PhotoCopy,
    PhotoHash,
    ProductPhoto,
    ReplyFile,
)
from assistant.storage import Storage
from assistant.text.clusters import shorten

LIST = "erasures.jsonl"
# Tables that hold nothing of customers, or nothing that says whose it was.
APART: Mapping[str, str] = {
    "agent_sessions": "people who work here",
    "agents": "people who work here",
    "alembic_version": "of the tables themselves",
    "api_keys": "of machines",
    "article_versions": "written by agents, for all",
    "articles": "for all",
    "audit_entries": "what agents did, with random ids",
    "automations": "rules",
    "batch_files": "files that a machine sent without saying whose, for a day",
    "batch_items": "texts that a machine sent without saying whose, for a day",
    "batches": "of machines",
    "custom_fields": "settings",
    "embedding_models": "of search",
    "figures": "pictures of articles",
    "gaps": "titles of questions; one without any is removed",
    "inboxes": "settings",
    "jobs": "ids, which lead nowhere any more",
    "macros": "written by agents, for all",
    "mail_refusals": "digests of addresses that want no mail, which must stay so",
    "passage_figures": "of articles",
    "passages": "of articles",
    "photo_copies": "of photos; those of photos that nobody has sent any more are removed",
    "photo_hashes": "of photos; those of photos that nobody has sent any more are removed",
    "processes": "of machines",
    "product_head_photos": "of the company's products",
    "product_heads": "weights",
    "product_photos": "of the company's products; those that customers sent are removed with what was read in them",
    "recovery_codes": "of people who work here",
    "report_counts": "counts, some by the codes of faults that customers wrote; they do not say whose",
    "report_states": "of reports",
    "saved_views": "searches of agents",
    "sla_policies": "rules",
    "source_files": "of articles",
    "source_pages": "of articles",
    "sources": "of articles",
    "tags": "names that agents give",
    "taxonomy_versions": "settings",
    "teams": "settings",
    "triage_heads": "weights",
    "unit_vectors": "of articles",
    "upload_counts": "addresses with numbers, for a day",
    "uploaded_files": "files that a machine sent without saying whose, for a day",
    "vectors": "of articles",
    "webhooks": "of machines",
    "written_articles": "written by agents, for all",
    "written_pictures": "of articles",
}
# What must not be handed over, even to whom it is about: it opens doors, or only machines can read it.
_SECRET = frozenset({"token_hash", "previous_hash", "code_hash", "mailbox_hash", "embedding", "embeddings"})
_AT_ONCE = 500
_LONGEST_TITLE = 160  # characters, of a gap
_Keys = dict[Table, list[tuple[Any, ...]]]
T = TypeVar("T")


@dataclass(frozen=True)
class Receipt:
    """What was erased: ids of the customers, rows by table, and files. ``later``: files that were stored so lately that
    somebody may be storing the same at this moment; the daily sweep deletes them."""

    customers: tuple[str, ...]
    erased_at: datetime
    rows: Mapping[str, int]
    files: int
    later: int

    def to_json(self) -> dict[str, Any]:
        return {
            "customers": list(self.customers),
            "erased_at": self.erased_at.isoformat(),
            "rows": dict(self.rows),
            "files": self.files,
            "files_within_a_day": self.later,
        }


def one_person(session: Session, customer: Customer) -> list[Customer]:
    """The customer and everybody who was merged with them, directly or not."""
    found = {customer.id}
    while True:
        pair = or_(CustomerMerge.from_id.in_(found), CustomerMerge.into_id.in_(found))
        merges = session.execute(select(CustomerMerge.from_id, CustomerMerge.into_id).where(pair))
        more = {id_ for row in merges for id_ in row}
        if more <= found:
            return list(session.scalars(select(Customer).where(Customer.id.in_(found)).order_by(Customer.id)))
        found |= more


def preview(session: Session, customer: Customer) -> dict[str, int]:
    """How many rows of each table would be erased."""
    keys = _walk(session, Customer, [one.id for one in one_person(session, customer)])
    return {table.name: len(of) for table, of in keys.items() if of}


def derived_tables(model: Any = Customer) -> list[Table]:
    """The tables whose rows go with a row of this one, which is the first; parents before children."""
    found = [_table(model)]
    for table in Base.metadata.sorted_tables:
        if table not in found and any(column.table in found for _, column in _owners(table)):
            found.append(table)
    return found


def export(session: Session, customer: Customer) -> dict[str, list[dict[str, Any]]]:
    """All rows of a person by table, with every column but secrets. Values are JSON."""
    keys = _walk(session, Customer, [one.id for one in one_person(session, customer)])
    rows = {table.name: list(_rows(session, table, of)) for table, of in keys.items() if of}
    readings = _readings(session, _digests(session, keys), are_left=False)
    if readings:
        rows.setdefault("evidence", []).extend(_rows(session, _table(Evidence), [(id_,) for id_ in readings]))
    return rows


def write_archive(db: Database, storage: Storage, customer: Customer, target: Path | IO[bytes]) -> None:
    """Write everything of a person to a ZIP file: ``person.json`` (`export`) and their files, under their digests."""
    with db.read() as session:
        rows = export(session, customer)
    names = {one["sha256"]: one["filename"] for one in rows.get("attachments", ())}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("person.json", json.dumps(rows, ensure_ascii=False, indent=2))
        for sha256, filename in names.items():
            with suppress(Gone, NotFound):  # lost or damaged: nothing can be handed over
                archive.writestr(f"files/{sha256[:12]} {PurePosixPath(filename).name}", storage.get(sha256))


def erase(db: Database, storage: Storage, folder: Path, public_ids: Iterable[str]) -> Receipt:
    """Erase the persons with these ids for good. What is being worked on for them ends without a trace.

    Listed before it is done, so that an erasure which a power cut interrupts is done by `repeat`. Ids that nobody has
    any more are left out.
    """
    wanted = list(public_ids)
    with db.read() as session:
        found = session.scalars(select(Customer).where(Customer.public_id.in_(wanted))).all()
        persons = {one.public_id for customer in found for one in one_person(session, customer)}
    _list(folder, sorted({*wanted, *persons}))
    with db.begin() as session:
        rows, digests = _erase_rows(session, sorted(persons))
    gone, later = files.remove_unnamed(db, storage, digests)
    search.forget_erased(db)
    db.truncate_log()
    return Receipt(tuple(sorted(persons)), utcnow(), rows, gone, later)


def repeat(db: Database, storage: Storage, folder: Path) -> Receipt | None:
    """Erase again whoever is listed as erased and is here, as after a backup was restored. None if nobody is."""
    listed = _listed(folder)
    with db.read() as session:
        back = [
            public_id
            for some in _some(sorted(listed))
            for public_id in session.scalars(select(Customer.public_id).where(Customer.public_id.in_(some)))
        ]
    return erase(db, storage, folder, back) if back else None


def add_to_list(folder: Path, listed: str) -> None:
    """List as erased, too, whoever and whatever is in another such list, given by its text."""
    known = _text(folder)
    if new := _ids_in(listed) - _ids_in(known):
        _list(folder, sorted(new))
    lines = set(known.splitlines())
    if expired_there := [one for one in _lines(listed) if not one["customers"] and json.dumps(one) not in lines]:
        _append(folder, expired_there)


def _erase_rows(session: Session, public_ids: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    persons = session.scalars(select(Customer).where(Customer.public_id.in_(public_ids)).with_for_update()).all()
    rows, digests = delete_customers(session, persons)
    return {name: count for name, count in sorted(rows.items()) if count}, digests


def delete_customers(session: Session, persons: Sequence[Customer]) -> tuple[Counter[str], set[str]]:
    """As `delete_rows`, with the mail that was sent to their addresses."""
    addresses = [one.email for one in persons if one.email]
    mails = _delete(session, Mail, Mail.recipient.in_(addresses), Mail.conversation_id.is_(None))
    rows, digests = delete_rows(session, Customer, [one.id for one in persons])
    return rows + Counter(mails=mails), digests


def delete_rows(session: Session, model: Any, ids: Sequence[int]) -> tuple[Counter[str], set[str]]:
    """Delete rows with all that goes with them. Returns how many rows of each table there were, and the digests of
    files that they named."""
    keys = _walk(session, model, ids)
    digests = _digests(session, keys)
    rows = Counter({table.name: len(of) for table, of in keys.items()})
    gaps = {id_ for some in _some(_ids(keys, GapQuestion)) for id_ in session.scalars(_gaps_of(some))}
    for some in _some(ids):
        _delete(session, model, model.id.in_(some))
    rows += forget_content(session, digests)
    session.expire_all()
    for gap in session.scalars(select(Gap).where(Gap.id.in_(gaps))):
        rows["gaps"] += _forget_question(session, gap)
    return rows, digests


def forget_content(session: Session, digests: Collection[str]) -> Counter[str]:
    """Delete what was read and measured in these files, unless somebody's attachment still is one of them. Returns how
    many rows of each table there were."""
    rows = Counter[str]()
    for some in _some(_readings(session, digests, are_left=True)):
        rows["evidence"] += _delete(session, Evidence, Evidence.id.in_(some))
    is_theirs_still = select(Attachment.id).where(Attachment.sha256 == ProductPhoto.sha256).exists()
    is_sent = select(Attachment.id).where(Attachment.sha256 == PhotoHash.sha256).exists()
    for photos in _some(sorted(digests)):
        rows["photo_hashes"] += _delete(session, PhotoHash, PhotoHash.sha256.in_(photos), ~is_sent)
        for digest in (PhotoCopy.sha256, PhotoCopy.other_sha256):
            is_sent_yet = select(Attachment.id).where(Attachment.sha256 == digest).exists()
            rows["photo_copies"] += _delete(session, PhotoCopy, digest.in_(photos), ~is_sent_yet)
        theirs = (ProductPhoto.sha256.in_(photos), ProductPhoto.is_customers.is_(True), ~is_theirs_still)
        rows["product_photos"] += _delete(session, ProductPhoto, *theirs)
    return rows


def _gaps_of(questions: Sequence[int]) -> Select[int]:
    return select(GapQuestion.gap_id).where(GapQuestion.id.in_(questions), GapQuestion.gap_id.is_not(None))


def _forget_question(session: Session, gap: Gap) -> bool:
    """Give a gap that has lost questions a title that it still has. Returns whether it went, as none was left."""
    titles = [shorten(one.text, _LONGEST_TITLE) for one in gap.questions]
    if not titles:
        session.delete(gap)
    elif gap.title not in titles:
        gap.title = titles[0]
    return not titles


def _delete(session: Session, model: Any, *where: ColumnElement[bool]) -> int:
    """How many rows were deleted, not counting those that went with them."""
    found = session.execute(delete(model).where(*where).execution_options(synchronize_session=False))
    return int(found.rowcount)  # type: ignore[attr-defined]


def _walk(session: Session, model: Any, ids: Sequence[int]) -> _Keys:
    """Primary keys of all rows that go with these rows, themselves included."""
    keys: _Keys = {_table(model): [(id_,) for id_ in ids]}
    for table in derived_tables(model)[1:]:
        found: dict[tuple[Any, ...], None] = {}
        for column, owner in _owners(table):
            for some in _some([key[0] for key in keys.get(owner.table, ())]):
                rows = session.execute(select(*table.primary_key).where(column.in_(some)))
                found |= dict.fromkeys(tuple(row) for row in rows)
        keys[table] = list(found)
    return keys


def _owners(table: Table) -> Iterator[tuple[Column[Any], Column[Any]]]:
    """Columns by which a row goes with one of another table, and what they refer to: its only key."""
    for constraint in table.foreign_key_constraints:
        if constraint.ondelete == "CASCADE" and constraint.referred_table is not table:
            for element in constraint.elements:
                yield element.parent, element.column


def _rows(session: Session, table: Table, keys: Sequence[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    first = next(iter(table.primary_key))
    wanted = set(keys)
    for some in _some(sorted({key[0] for key in keys})):
        for row in session.execute(select(table).where(first.in_(some))).mappings():
            if tuple(row[column.name] for column in table.primary_key) in wanted:
                yield _plain(row)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    shown = {str(name): value for name, value in row.items() if str(name) not in _SECRET}
    plain: dict[str, Any] = json.loads(json.dumps(shown, default=str))
    return plain


def _digests(session: Session, keys: _Keys) -> set[str]:
    """Of the files that the rows name."""
    found: set[str | None] = set()
    for model in (Attachment, ReplyFile):
        for some in _some(_ids(keys, model)):
            rows = session.execute(select(model.sha256, model.thumbnail_sha256).where(model.id.in_(some)))
            found |= {digest for row in rows for digest in row}
    return {digest for digest in found if digest}


def _readings(session: Session, digests: Iterable[str], *, are_left: bool) -> list[int]:
    """What was read in these photos, whoever sent them: all of it, or what is left of photos that nobody has sent."""
    found: list[int] = []
    for some in _some(sorted(digests)):
        readings = select(Evidence.id).where(Evidence.sha256.in_(some), Evidence.conversation_id.is_(None))
        if are_left:
            readings = readings.where(~select(Attachment.id).where(Attachment.sha256 == Evidence.sha256).exists())
        found += session.scalars(readings)
    return found


def _ids(keys: _Keys, model: Any) -> list[int]:
    return [key[0] for key in keys.get(_table(model), ())]


def _some(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table


def list_expired(folder: Path, *, conversations: Sequence[str] = (), files_of: Sequence[str] = ()) -> None:
    """List conversations, by public ids, as gone because their time was over, or all files of them so far."""
    if conversations or files_of:
        _list(folder, (), conversations=conversations, files_of=files_of)


def expired(folder: Path) -> tuple[set[str], dict[str, datetime]]:
    """What was listed so: conversations, and when the files of which went last."""
    conversations, files_of = set[str](), dict[str, datetime]()
    for line in _lines(_text(folder)):
        conversations |= set(line.get("conversations", ()))
        files_of |= dict.fromkeys(line.get("files_of", ()), datetime.fromisoformat(line["at"]))
    return conversations, files_of


def _list(folder: Path, public_ids: Sequence[str], **more: Sequence[str]) -> None:
    """Ids are random and say nothing of anybody."""
    listed = {"at": utcnow().isoformat(), "customers": list(public_ids)}
    listed |= {name: list(ids) for name, ids in more.items() if ids}
    _append(folder, [listed])


def _append(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LIST).open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _listed(folder: Path) -> set[str]:
    return _ids_in(_text(folder))


def _text(folder: Path) -> str:
    path = folder / LIST
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _ids_in(listed: str) -> set[str]:
    return {public_id for line in _lines(listed) for public_id in line["customers"]}


def _lines(listed: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in listed.splitlines() if line.strip())
