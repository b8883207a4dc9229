"""Articles that are written here, by agents and machines: saved as versions, published, withdrawn, and tried before.

What is published is a source of its own (`SourceKind.WRITTEN`), which the import reads like every other: so an article
is served whole or not at all, its pictures are read, and no folder and no website can overwrite it. What was imported
from elsewhere is read-only here, because the next import of its source would take back whatever was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import ndiff
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import unquote

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from assistant.desk import inboxes
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Staff
from assistant.desk.desk import Desk
from assistant.errors import (
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unsupported,
)
from assistant.knowledge import gaps
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Agent, APIKey, Article, ArticleVersion, Gap, Visibility, WrittenArticle, WrittenPicture
from assistant.retrieval.loaders import ArticleSource, Listing, make_article
from assistant.retrieval.sources.article import Picture
from assistant.retrieval.sources.images import NamedPicture
from assistant.retrieval.sources.markdown import read_markdown
from assistant.storage import Storage

SOURCE_NAME = "Written here"
LONGEST_TITLE = 200
LONGEST_TEXT = 200_000
MOST_PICTURES = 100


@dataclass(frozen=True)
class Content:
    """What the form of an article holds. Empty ``product``, ``language`` and ``inbox``: none is stated."""

    title: str
    text: str
    product: str = ""
    language: str = ""
    visibility: str = Visibility.PUBLIC.value
    inbox: str = ""


@dataclass(frozen=True)
class Line:
    """Of a comparison: ``kind`` is "same", "added" or "removed"."""

    kind: str
    text: str


# What there is


@dataclass(frozen=True)
class Shelf:
    """Articles that are served, of every source, and drafts that were never published."""

    articles: Sequence[Article]
    drafts: Sequence[WrittenArticle]
    sources: Sequence[str]
    written: dict[str, str]  # public id of an article to that of the `WrittenArticle` behind it


def browse(session: Session, *, query: str = "", source: str = "", after: str | None = None, limit: int = 50) -> Shelf:
    """Articles by title, after the one with the public id ``after``, with ``query`` in the title; of one source."""
    found = select(Article).order_by(Article.title, Article.id).limit(limit)
    if query:
        found = found.where(Article.title.icontains(query, autoescape=True))
    if source:
        found = found.where(Article.source == source)
    if after is not None and (last := session.scalar(select(Article).where(Article.public_id == after))) is not None:
        found = found.where((Article.title > last.title) | ((Article.title == last.title) & (Article.id > last.id)))
    articles = session.scalars(found).all()
    drafts = session.scalars(
        select(WrittenArticle)
        .where(WrittenArticle.published.is_(None))
        .order_by(WrittenArticle.id.desc())
        .options(selectinload(WrittenArticle.versions))
    ).all()
    written = {one.public_id: its for one in articles if (its := written_id(one)) is not None}
    sources = session.scalars(select(Article.source).distinct().order_by(Article.source)).all()
    return Shelf(articles, drafts, sources, written)


def written_id(article: Article) -> str | None:
    """Of the `WrittenArticle` behind an article that is served; None if it comes from elsewhere."""
    return article.source_key.removesuffix(".md") if article.source == SOURCE_NAME else None


def find(session: Session, public_id: str) -> WrittenArticle:
    query = select(WrittenArticle).where(WrittenArticle.public_id == public_id)
    written = session.scalar(query.options(selectinload(WrittenArticle.versions)))
    if written is None:
        raise NotFound("There is no such article.")
    return written


def writers(session: Session, written: WrittenArticle) -> dict[int, str]:
    """Names of those who saved its versions, by the version's number."""
    rows = session.execute(
        select(ArticleVersion.number, func.coalesce(Agent.name, APIKey.name))
        .outerjoin(Agent, Agent.id == ArticleVersion.agent_id)
        .outerjoin(APIKey, APIKey.id == ArticleVersion.api_key_id)
        .where(ArticleVersion.article_id == written.id)
    )
    return {number: name for number, name in rows if name is not None}


def written_for(
    session: Session, machine: MachinePrincipal, *, after: str | None = None, limit: int = 50
) -> list[WrittenArticle]:
    """Those that a machine may change, drafts included, in the order in which they were begun, after the one with the
    public id ``after``. Raises `Invalid` if there is none."""
    query = select(WrittenArticle).order_by(WrittenArticle.id).options(selectinload(WrittenArticle.versions))
    if after is not None:
        last = session.scalar(select(WrittenArticle.id).where(WrittenArticle.public_id == after))
        if last is None:
            raise Invalid("This cursor is unknown. Start again without it.", field="cursor")
        query = query.where(WrittenArticle.id > last)
    if machine.inbox_ids is not None:
        own = inboxes.keys_of(session, machine.inbox_ids)
        newest = select(func.max(ArticleVersion.number)).where(ArticleVersion.article_id == WrittenArticle.id)
        its = ArticleVersion.number == newest.correlate(WrittenArticle).scalar_subquery()
        query = query.join(ArticleVersion, (ArticleVersion.article_id == WrittenArticle.id) & its)
        query = query.where(ArticleVersion.inbox.in_(own))
    return list(session.scalars(query.limit(limit)))


def find_for(session: Session, machine: MachinePrincipal, public_id: str) -> WrittenArticle:
    """One that a machine may change: those whose key is for some inboxes, what only those inboxes' customers read."""
    written = find(session, public_id)
    if machine.inbox_ids is not None and written.newest.inbox not in inboxes.keys_of(session, machine.inbox_ids):
        raise NotFound("There is no such article.")
    return written


def require_version(session: Session, written: WrittenArticle, expected: str | None) -> None:
    """Raises `PreconditionFailed` unless the version ``expected`` is the newest; None: whichever is. Other writers wait
    until the transaction is over."""
    _take_turns(session, written.public_id)
    session.expire(written, ["versions"])  # others may have saved one before we had the lock
    if expected is not None and str(written.newest.number) != expected:
        raise PreconditionFailed("The article has been changed since. Read it again, and decide anew.")


def compare(before: ArticleVersion | None, after: ArticleVersion) -> list[Line]:
    """Line by line, what is said of the article first."""
    kinds = {"  ": "same", "+ ": "added", "- ": "removed"}
    lines = ndiff(_lines(before) if before is not None else [], _lines(after))
    return [Line(kinds[line[:2]], line[2:]) for line in lines if line[:2] in kinds]


def _lines(version: ArticleVersion) -> list[str]:
    said = {
        "Title": version.title,
        "Product": version.product,
        "Language": version.language,
        "Inbox": version.inbox,
        "Visibility": version.visibility.value,
    }
    return [*(f"{name}: {value}" for name, value in said.items() if value), "", *version.text.splitlines()]


# Writing


def save(
    session: Session,
    by: Staff,
    content: Content,
    *,
    public_id: str | None = None,
    based_on: int | None = None,
    gap_id: str | None = None,
) -> WrittenArticle:
    """Save the content as the newest version of an article, or of a new one (for a gap). The same again is a no-op.

    Raises `Conflict` if somebody has saved another version since the one that this is ``based_on``."""
    content = _checked(session, content)
    if public_id is None:
        gap = gaps.get_gap(session, gap_id) if gap_id else None
        written = WrittenArticle(gap_id=gap.id if gap is not None else None)
        session.add(written)
        session.flush()
    else:
        _take_turns(session, public_id)
        written = find(session, public_id)
    newest = written.versions[-1] if written.versions else None
    if newest is not None and content_of(newest) == content:
        return written
    if newest is not None and newest.number != based_on:
        name = writers(session, written).get(newest.number, "Somebody")
        raise Conflict(
            f"{name} has saved version {newest.number} meanwhile. What you typed is still here: compare, then save."
        )
    version = ArticleVersion(
        article_id=written.id,
        number=newest.number + 1 if newest is not None else 1,
        title=content.title,
        text=content.text,
        product=content.product or None,
        language=content.language or None,
        visibility=Visibility(content.visibility),
        inbox=content.inbox or None,
        agent_id=by.agent_id if isinstance(by, AgentPrincipal) else None,
        api_key_id=by.key_id if isinstance(by, MachinePrincipal) else None,
    )
    written.versions.append(version)
    session.flush()
    return written


def _take_turns(session: Session, public_id: str) -> None:
    """Writers to one article wait for each other."""
    query = select(WrittenArticle).where(WrittenArticle.public_id == public_id)
    session.scalar(query.with_for_update().execution_options(populate_existing=True))


def publish(session: Session, by: Staff, written: WrittenArticle) -> None:
    """Serve its newest version from the next import on, which the caller requests. Its gap is done."""
    _require_lead(by)
    if not read_markdown(written.newest.text).has_text:
        raise Invalid("An article needs a text besides its title.", field="text")
    written.published = written.newest.number
    if written.gap_id is not None:
        gap = session.get(Gap, written.gap_id)
        if gap is not None:
            gaps.finish_gap(session, gap.public_id, by=by if isinstance(by, AgentPrincipal) else None)


def withdraw(session: Session, by: Staff, written: WrittenArticle) -> None:
    """Serve it no longer. It stays as a draft."""
    _require_lead(by)
    written.published = None


def remove(session: Session, by: Staff, written: WrittenArticle) -> None:
    """Raises `Conflict` while it is published."""
    _require_lead(by)
    if written.published is not None:
        raise Conflict("Withdraw it first.")
    session.delete(written)


def add_picture(desk: Desk, public_id: str, upload: Upload) -> str:
    """Store a picture for an article, without metadata. Returns the name by which its text refers to it."""
    photo = normalise(upload, desk.photo_limits)
    if not isinstance(photo, Photo):
        raise Unsupported(f"{upload.filename} is not a picture. Take a JPEG, PNG, WebP or GIF.")
    sha256 = desk.storage.put(photo.data)
    with desk.db.begin() as session:
        written = find(session, public_id)
        known = session.scalars(select(WrittenPicture).where(WrittenPicture.article_id == written.id)).all()
        same = next((one.name for one in known if one.sha256 == sha256), None)
        if same is not None:
            return same
        if len(known) >= MOST_PICTURES:
            raise TooLarge(f"An article has at most {MOST_PICTURES} pictures.", limit=MOST_PICTURES)
        name = f"picture-{len(known) + 1}.jpg"
        session.add(WrittenPicture(article_id=written.id, name=name, sha256=sha256))
        return name


def picture(session: Session, written: WrittenArticle, name: str) -> str:
    """The digest of a picture of the article."""
    query = select(WrittenPicture.sha256).where(WrittenPicture.article_id == written.id, WrittenPicture.name == name)
    sha256 = session.scalar(query)
    if sha256 is None:
        raise NotFound("There is no such picture.")
    return sha256


# What the import reads


def list_published(desk: Desk) -> Listing:
    """The published versions, which a source of kind `WRITTEN` imports."""
    listing = Listing()
    with desk.db.read() as session:
        query = select(WrittenArticle).where(WrittenArticle.published.is_not(None)).order_by(WrittenArticle.id)
        for written in session.scalars(query.options(selectinload(WrittenArticle.versions))):
            version = next(one for one in written.versions if one.number == written.published)
            listing.add(article_of(session, desk.storage, written, version))
    return listing


def article_of(session: Session, storage: Storage, written: WrittenArticle, version: ArticleVersion) -> ArticleSource:
    """A version as the import takes articles, with the pictures that it refers to."""
    pictures = select(WrittenPicture.name, WrittenPicture.sha256).where(WrittenPicture.article_id == written.id)
    known: dict[str, str] = dict(session.execute(pictures).all())

    def find_picture(named: NamedPicture) -> Picture | None:
        sha256 = known.get(PurePosixPath(unquote(named.reference)).name)
        if sha256 is None:
            return None
        return Picture(sha256, 0, named.alt, named.caption, read=partial(storage.get, sha256))

    said = {"title": version.title, "product": version.product, "language": version.language, "inbox": version.inbox}
    meta = {name: value for name, value in said.items() if value} | {"visibility": version.visibility.value}
    return make_article(f"{written.public_id}.md", meta, version.title, read_markdown(version.text, find_picture))


def _checked(session: Session, content: Content) -> Content:
    title, text = " ".join(content.title.split()), content.text.strip()
    if not title or len(title) > LONGEST_TITLE:
        raise Invalid(f"An article needs a title of at most {LONGEST_TITLE} characters.", field="title")
    if len(text) > LONGEST_TEXT:
        raise TooLarge(f"An article has at most {LONGEST_TEXT:,} characters.", limit=LONGEST_TEXT)
    if content.visibility not in list(Visibility):
        raise Invalid("Choose who may read it.", field="visibility")
    if content.inbox:
        inboxes.find(session, content.inbox)
    language = content.language.strip().lower()
    if language and not (language.replace("-", "").isalpha() and 2 <= len(language) <= 12):
        raise Invalid(f"{language[:40]!r} is not the code of a language, such as de or pt.", field="language")
    return Content(title, text, content.product.strip(), language, content.visibility, content.inbox)


def author(session: Session, version: ArticleVersion) -> Agent | APIKey | None:
    """Who saved it, as far as they are still known."""
    if version.agent_id is not None:
        return session.get(Agent, version.agent_id)
    return session.get(APIKey, version.api_key_id) if version.api_key_id is not None else None


def content_of(version: ArticleVersion) -> Content:
    return Content(
        version.title,
        version.text,
        version.product or "",
        version.language or "",
        version.visibility.value,
        version.inbox or "",
    )


def _require_lead(by: Staff) -> None:
    """Of machines, the scope decides."""
    if isinstance(by, AgentPrincipal) and not by.leads:
        raise NotAllowed("Leads and admins publish articles. What you saved is kept as a draft.")


def served(session: Session, written: WrittenArticle) -> Article | None:
    """What is served of it now, as it was imported last."""
    query = select(Article).where(Article.source == SOURCE_NAME, Article.source_key == f"{written.public_id}.md")
    return session.scalar(query)
