"""Bringing what a source lists into the knowledge base: incremental, whole article by whole article.

An article whose content is unchanged costs nothing, a passage that was embedded before is not embedded again, articles
that have left the source go. Each article is replaced in one short transaction, its figures with it, so what is served
is always a whole article of one version, and an import that is killed continues where it was. Two imports of one source
at once do each article one after the other: the later one finds it done.

Passages of many articles are embedded together, sorted by length: a batch is as slow as its longest text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.errors import AssistantError, Conflict, NotFound
from assistant.knowledge.indexing import NotServed, hold_served, keep_vectors, known_vectors, to_bytes
from assistant.models import Article, EmbeddingModel, Figure, Passage, PassageFigure, VectorKind, Visibility
from assistant.ports import Embedder
from assistant.progress import Progress, no_progress
from assistant.retrieval.loaders import ArticleSource, Found, Listing, Picture
from assistant.retrieval.splitting import REVISION, FigureText, PassageText, cut
from assistant.skills.taxonomy import Taxonomy

# Passages that wait to be embedded together. Sorted by length within so many, an import embeds as fast as all at once
# would; a kill costs the work on as many.
_WINDOW = 512
# What is read slowly, from a website, is stored after so many seconds even if it is less.
_FLUSH_AFTER = 2.0
# Texts a call: other threads' queries get their turn between two calls.
_EMBED_AT_ONCE = 32
# Characters at the beginning of an article in which it says what it is about.
_OPENING = 300


@dataclass(frozen=True)
class KeptPicture:
    """A picture whose bytes are in storage. ``read``: what was read in it; for the picture of a page, paragraphs
    separated by blank lines."""

    sha256: str
    thumbnail_sha256: str
    content_type: str
    width: int
    height: int
    read: str = ""


# Stores and reads a picture. None for decoration; an `AssistantError` says what is wrong with it.
KeepPicture = Callable[[Picture], KeptPicture | None]
# Told of every article that is stored as it is now: (key, the article, or None if it had not changed).
Stored = Callable[[str, ArticleSource | None], None]


@dataclass(frozen=True)
class ImportReport:
    """How many articles were added, updated, unchanged, removed; what could not be read, and why."""

    source: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    figures: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    def summary(self) -> str:
        failed = f", {len(self.failed)} could not be read" if self.failed else ""
        figures = f", figures: {self.figures}" if self.figures else ""
        return (
            f"Articles of {self.source!r}: {self.added} added, {self.updated} updated, {self.unchanged} unchanged, "
            f"{self.removed} removed{failed}. Passages indexed: {self.passages}{figures}, in {self.seconds:.1f} s."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "passages": self.passages,
            "figures": self.figures,
            "failed": [{"key": key, "reason": reason} for key, reason in self.failed],
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class _FigureRow:
    """A figure as it will be stored, and the positions of the passages that it belongs beside."""

    text: FigureText
    kept: KeptPicture
    passages: tuple[int, ...]


@dataclass(frozen=True)
class _Prepared:
    """An article that waits to be embedded and stored."""

    article: ArticleSource
    digest: str
    passages: tuple[PassageText, ...]
    figures: tuple[_FigureRow, ...]


@dataclass
class Importer:
    """One import of one source. ``embedder``: the one that is served; another one that takes its place meanwhile is
    got by ``reopen``. ``taxonomy``: an article that does not say its product has the one that its title or opening
    names. ``keep_picture``: without it, pictures are left out."""

    db: Database
    source: str
    embedder: Embedder
    reopen: Callable[[EmbeddingModel], Embedder] | None = None
    taxonomy: Taxonomy | None = None
    keep_picture: KeepPicture | None = None
    progress: Progress = no_progress
    stored: Stored = lambda _key, _article: None
    _known: dict[str, str] = field(default_factory=dict, init=False)  # key to digest of what is stored
    _waiting: list[_Prepared] = field(default_factory=list, init=False)
    _flushed_at: float = field(default=0.0, init=False)
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)
    _updated: int = field(default=0, init=False)
    _unchanged: int = field(default=0, init=False)
    _passages: int = field(default=0, init=False)
    _figures: int = field(default=0, init=False)

    def run(self, listing: Listing) -> ImportReport:
        """Make the articles of the source those of the listing. What cannot be read just now stays as it was.

        Raises `NotFound` if not one article can be read: a mistyped path does not empty the knowledge base."""
        started = perf_counter()
        with self.db.read() as session:
            self._known = _stored_digests(session, self.source)
        changed = [found for found in listing.found if not self._is_known(found)]
        self._unchanged = len(listing.found) - len(changed)
        self._flushed_at = monotonic()
        self._total = len(changed)
        self.progress(0, self._total, "Importing articles")
        gone: set[str] = set()
        for found in changed:
            self._take(found, listing, gone)
            if self._is_time_to_store():
                self._store()
        self._store()
        is_empty = not listing.found and not listing.failed  # on purpose
        if not is_empty and not self._added + self._updated + self._unchanged:
            reasons = "; ".join(f"{key} {reason}" for key, reason in listing.failed[:3])
            raise NotFound(f"No article of {self.source!r} could be read: {reasons}.")
        removed = self._remove([key for key in _gone(listing, self._known) if key not in gone] + sorted(gone))
        return ImportReport(
            source=self.source,
            added=self._added,
            updated=self._updated,
            unchanged=self._unchanged,
            removed=removed,
            passages=self._passages,
            figures=self._figures,
            failed=tuple(listing.failed),
            seconds=perf_counter() - started,
        )

    def _is_known(self, found: Found) -> bool:
        return found.content_hash is not None and self._known.get(found.key) == self._digest(found.content_hash)

    def _digest(self, content_hash: str) -> str:
        """Changes when the article does, and when other passages are made of it than before, or another product."""
        products = f"-{self.taxonomy.products_hash}" if self.taxonomy is not None else ""
        return f"{REVISION}{'+' if self.keep_picture is not None else ''}{products}:{content_hash}"

    def _take(self, found: Found, listing: Listing, gone: set[str]) -> None:
        """Read an article, with its pictures, unless it turns out to be unchanged."""
        try:
            article = found.read()
        except NotFound as error:  # listed, but no longer there
            listing.failed.append((found.key, error.message))
            gone.update({found.key} & self._known.keys())
            self._tell_done()
        except AssistantError as error:
            listing.fail(found.key, error.message, doubtful=found.key)
            self._tell_done()
        else:
            digest = self._digest(found.content_hash or (article.content_hash if article is not None else ""))
            if article is None or self._known.get(found.key) == digest:
                self._unchanged += 1
                self.stored(found.key, article)
                self._tell_done()
            else:
                self._waiting.append(self._prepare(article, digest, listing))

    def _tell_done(self) -> None:
        self._done += 1
        self.progress(self._done, self._total, "Importing articles")

    def _prepare(self, article: ArticleSource, digest: str, listing: Listing) -> _Prepared:
        article = self._with_product(article)
        pieces = cut(article)
        passages = list(pieces.passages)
        figures = []
        for figure in pieces.figures:
            kept = self._kept(figure, article, listing)
            if kept is None:
                continue
            own = figure.passages(kept.read)
            beside = [figure.beside] if 0 <= figure.beside < len(pieces.passages) else []
            figures.append(_FigureRow(figure, kept, (*beside, *range(len(passages), len(passages) + len(own)))))
            passages += own
        return _Prepared(article, digest, tuple(passages), tuple(figures))

    def _with_product(self, article: ArticleSource) -> ArticleSource:
        if article.product is not None or self.taxonomy is None:
            return article
        opening = " ".join(block for section in article.sections[:1] for block in section.blocks)[:_OPENING]
        return replace(article, product=self.taxonomy.product_named(article.title, opening))

    def _kept(self, figure: FigureText, article: ArticleSource, listing: Listing) -> KeptPicture | None:
        if self.keep_picture is None:
            return None
        try:
            return self.keep_picture(figure.picture)
        except AssistantError as error:
            listing.failed.append((article.key, f"a picture was left out: {error.message}"))
            return None

    def _is_time_to_store(self) -> bool:
        count = sum(len(one.passages) for one in self._waiting)
        return count >= _WINDOW or (count > 0 and monotonic() - self._flushed_at > _FLUSH_AFTER)

    def _store(self) -> None:
        """Embed what is waiting, with no transaction open, and store it. Should another embedder be served by the time
        an article is stored, what is left is embedded with that one."""
        while self._waiting:
            try:
                self._embed_and_store()
            except NotServed as other:
                if self.reopen is None:
                    raise Conflict(f"The articles are searched with another embedder: {other.served.name}.") from other
                self.embedder = self.reopen(other.served)
        self._flushed_at = monotonic()

    def _embed_and_store(self) -> None:
        """Each article is replaced, in a transaction of its own, as soon as all of its passages are embedded."""
        texts = {passage.content_hash: passage for one in self._waiting for passage in one.passages}
        vectors = known_vectors(self.db, list(texts), embedding_model=self.embedder.name)
        missing = sorted((key for key in texts if key not in vectors), key=lambda key: len(texts[key].indexed))
        self._store_complete(vectors)
        for some in _slices(missing, _EMBED_AT_ONCE):
            embedded = self.embedder.embeddings.embed_documents([texts[key].indexed for key in some])
            vectors |= {key: to_bytes(vector) for key, vector in zip(some, embedded, strict=True)}
            self._store_complete(vectors)

    def _store_complete(self, vectors: Mapping[str, bytes]) -> None:
        """Store the articles of which every passage has its vector; the others go on waiting."""
        for one in tuple(self._waiting):
            if all(passage.content_hash in vectors for passage in one.passages):
                self._store_one(one, vectors)
                self._waiting = [other for other in self._waiting if other is not one]

    def _store_one(self, one: _Prepared, vectors: Mapping[str, bytes]) -> None:
        try:
            _save(self.db, self.source, one, vectors, self.embedder)
        except IntegrityError:  # another import has just added it
            _save(self.db, self.source, one, vectors, self.embedder)
        self._passages += len(one.passages)
        self._figures += len(one.figures)
        if one.article.key in self._known:
            self._updated += 1
        else:
            self._added += 1
        self.stored(one.article.key, one.article)
        self._tell_done()

    def _remove(self, keys: Sequence[str]) -> int:
        for key in keys:
            # One by one: short transactions, and no two imports wait for each other's articles.
            with self.db.begin() as session:
                session.execute(delete(Article).where(Article.source == self.source, Article.source_key == key))
        return len(keys)


def _stored_digests(session: Session, source: str) -> dict[str, str]:
    """Key to digest of what is stored."""
    articles = select(Article.source_key, Article.content_hash).where(Article.source == source)
    return dict(session.execute(articles).all())


def _gone(listing: Listing, stored: Mapping[str, str]) -> list[str]:
    """Stored keys that have left the source: those neither found nor of something that could not be read just now."""
    keep = {found.key for found in listing.found} | listing.doubtful
    if "" in keep:  # the list itself could not be read whole
        return []
    return [key for key in stored if key not in keep and not any(file in keep for file in _files_of(key))]


def _files_of(key: str) -> Iterator[str]:
    """The files that an article with this key may be a row of: the name of a file may hold a # itself."""
    place = key.find("#")
    while place >= 0:
        yield key[:place]
        place = key.find("#", place + 1)


def _slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _save(db: Database, source: str, new: _Prepared, vectors: Mapping[str, bytes], embedder: Embedder) -> None:
    article = new.article
    with db.begin() as session:
        hold_served(session, embedder.name, embedder.source)
        # Locked where the database does not serialise writers itself: the other import's passages must be seen.
        query = select(Article).where(Article.source == source, Article.source_key == article.key).with_for_update()
        row = session.scalar(query)
        if row is None:
            row = Article(source=source, source_key=article.key)
            session.add(row)
        else:
            session.execute(delete(Passage).where(Passage.article_id == row.id))
        row.title, row.url, row.product = article.title, article.url, article.product
        row.language, row.visibility = article.language, Visibility(article.visibility)
        # The index asks for the time to know what has changed: it differs even if nothing else does.
        row.content_hash, row.updated_at = new.digest, utcnow()
        session.flush()
        own = {passage.content_hash: vectors[passage.content_hash] for passage in new.passages}
        keep_vectors(session, VectorKind.PASSAGE, own, embedding_model=embedder.name)
        passages = _passage_rows(row.id, new.passages)
        session.add_all(passages)
        session.flush()
        _save_figures(session, row.id, new.figures, passages)


def _passage_rows(article_id: int, passages: Sequence[PassageText]) -> list[Passage]:
    return [
        Passage(
            article_id=article_id,
            position=position,
            heading=passage.heading,
            text=passage.text,
            codes=passage.codes,
            content_hash=passage.content_hash,
        )
        for position, passage in enumerate(passages)
    ]


def _save_figures(
    session: Session, article_id: int, figures: Sequence[_FigureRow], passages: Sequence[Passage]
) -> None:
    """A figure that the article had before keeps its row; one that has left goes."""
    old = {row.sha256: row for row in session.scalars(select(Figure).where(Figure.article_id == article_id))}
    new: dict[str, tuple[Figure, set[int]]] = {}
    for figure in figures:
        kept, picture = figure.kept, figure.text.picture
        row = old.pop(kept.sha256, None) or (new[kept.sha256][0] if kept.sha256 in new else None)
        row = row or Figure(article_id=article_id, sha256=kept.sha256)
        row.thumbnail_sha256, row.content_type = kept.thumbnail_sha256, kept.content_type
        row.width, row.height = kept.width, kept.height
        row.alt, row.caption = picture.alt or picture.caption, picture.caption
        session.add(row)
        new.setdefault(kept.sha256, (row, set()))[1].update(figure.passages)
    for row in old.values():
        session.delete(row)
    session.flush()
    session.add_all(
        PassageFigure(passage_id=passages[position].id, figure_id=row.id)
        for row, positions in new.values()
        for position in sorted(positions)
    )
