"""Importing what a source lists into the knowledge base: incrementally, one whole article at a time.

Unchanged articles cost nothing, passages that were embedded before are not embedded again, and articles that have left
the source are removed. Each article is replaced with its figures in one short transaction, so what is served is always
one version of a whole article, and an import resumes after a kill. Two simultaneous imports of one source take turns
for each article, and the later one finds it done.

Passages of many articles are embedded together, sorted by length: a batch takes as long as its longest text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from assistant.db import Database
from assistant.errors import AssistantError, Conflict, Invalid, NotFound
from assistant.knowledge.indexing import NotServed, in_batches, known_vectors, to_bytes
from assistant.knowledge.replacing import FigureRow, KeptPicture, Prepared, save
from assistant.models import Article, EmbeddingModel, Inbox, Visibility
from assistant.ports import Embedder
from assistant.progress import Progress, no_progress
from assistant.retrieval.loaders import ArticleSource, Found, Listing, Picture, list_articles
from assistant.retrieval.sources.coverage import Coverage
from assistant.retrieval.splitting import REVISION, FigureText, cut
from assistant.skills import screening
from assistant.skills.screening import Screen
from assistant.skills.taxonomy import Taxonomy

# Passages that are collected and sorted by length before they are embedded. With this many, an import is as fast as
# sorting all of them; a kill loses the work on at most this many.
_WINDOW = 512
# Seconds after which fewer are stored too, when articles come slowly, as from a website.
_FLUSH_AFTER = 2.0
# An article's product is looked for in this many characters at its beginning.
_OPENING = 300

# Stores and reads a picture. Returns None for decoration; raises an `AssistantError` that says what is wrong with it.
KeepPicture = Callable[[Picture], KeptPicture | None]
# Called for every article that is stored in its current version, with its key and, unless it is unchanged, the article.
Stored = Callable[[str, ArticleSource | None], None]


@dataclass(frozen=True)
class ImportReport:
    """How many articles were added, updated, unchanged and removed; what could not be read, and why; how much of
    each file's (or page's) text is in its articles, as far as that was measured; and what was left out of each article
    because it is addressed to an assistant."""

    source: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    figures: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, Coverage] = field(default_factory=dict)
    screened: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """How many articles are not what they were."""
        return self.added + self.updated + self.removed

    @property
    def incomplete(self) -> dict[str, Coverage]:
        """The files of which too little was kept, the worst first."""
        return {name: one for name, one in sorted(self.files.items(), key=lambda file: file[1].share) if one.is_low}

    def summary(self) -> str:
        failed = f", {len(self.failed)} could not be read" if self.failed else ""
        figures = f", figures: {self.figures}" if self.figures else ""
        whole = sum(self.files.values(), Coverage())
        kept = f" Text kept: {whole.share:.1%}." if self.files else ""
        if self.screened:
            kept += f" With {screening.LEFT_OUT}, which were left out: {len(self.screened)}."
        return (
            f"Articles of {self.source!r}: {self.added} added, {self.updated} updated, {self.unchanged} unchanged, "
            f"{self.removed} removed{failed}.{kept} "
            f"Passages indexed: {self.passages}{figures}, in {self.seconds:.1f} s."
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
            "characters": _coverage_json(sum(self.files.values(), Coverage())),
            "files": [{"key": name, **_coverage_json(coverage)} for name, coverage in self.files.items()],
            "screened": [{"key": key, "text": text} for key, texts in self.screened.items() for text in texts],
            "incomplete": [{"key": name, "reason": coverage.describe()} for name, coverage in self.incomplete.items()],
            "seconds": round(self.seconds, 2),
        }


def _coverage_json(coverage: Coverage) -> dict[str, Any]:
    return {**vars(coverage), "share": round(coverage.share, 3)}


def import_folder(
    db: Database,
    *,
    path: Path,
    source: str,
    embedder: Embedder,
    second: Embedder | None = None,
    progress: Progress = no_progress,
) -> ImportReport:
    """Make the articles of ``source`` those of the folder (or file) at ``path``, without their pictures.

    Raises `NotFound` or `Invalid` if there is nothing to import: a mistyped path must not empty the knowledge base."""
    return Importer(db, source, embedder, second=second, progress=progress).run(list_articles(path))


@dataclass
class Importer:
    """One import of one source. ``embedder``: the one that is served; if another takes its place in the meantime,
    ``reopen`` opens it. ``second``: an embedder whose vectors are stored beside those. ``taxonomy``: if an article
    states no product, the one named in its title or opening is used. ``keep_picture``: without it, pictures are left
    out. ``screens``: what diverts the model that answers is left out; ``screen`` tries that, and without one, articles
    wait for an import that has one. ``inbox_id``: the inbox whose customers alone may read articles that name none
    themselves; None: all."""

    db: Database
    source: str
    embedder: Embedder
    reopen: Callable[[EmbeddingModel], Embedder] | None = None
    second: Embedder | None = None
    taxonomy: Taxonomy | None = None
    keep_picture: KeepPicture | None = None
    progress: Progress = no_progress
    stored: Stored | None = None
    screens: bool = True
    screen: Screen | None = None
    inbox_id: int | None = None
    _inboxes: dict[str, int] = field(default_factory=dict, init=False)  # key to id
    _known: dict[str, str] = field(default_factory=dict, init=False)  # key to the stored digest
    _waiting: list[Prepared] = field(default_factory=list, init=False)
    _flushed_at: float = field(default=0.0, init=False)
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)
    _updated: int = field(default=0, init=False)
    _unchanged: int = field(default=0, init=False)
    _passages: int = field(default=0, init=False)
    _figures: int = field(default=0, init=False)

    def run(self, listing: Listing) -> ImportReport:
        """Make the source's articles those of the listing. Articles that cannot be read now stay as they were.

        Raises `NotFound` if no article at all can be read: a mistyped path must not empty the knowledge base."""
        started = perf_counter()
        with self.db.read() as session:
            digests = select(Article.source_key, Article.content_hash).where(Article.source == self.source)
            self._known = dict(session.execute(digests).all())
            self._inboxes = dict(session.execute(select(Inbox.key, Inbox.id)).all())
        changed = [
            found
            for found in listing.found
            if found.content_hash is None or not self._is_known(found.key, found.content_hash)
        ]
        self._unchanged = len(listing.found) - len(changed)
        self._flushed_at = monotonic()
        self._total = len(changed)
        self.progress(0, self._total, "Importing articles")
        gone: set[str] = set()
        for found in changed:
            self._take(found, listing, gone)
            count = sum(len(one.passages) for one in self._waiting)
            if count >= _WINDOW or (count > 0 and monotonic() - self._flushed_at > _FLUSH_AFTER):
                self._store()
        self._store()
        is_empty = not listing.found and not listing.failed  # intentionally
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
            files=self._files(listing),
            screened=self._screened(),
            seconds=perf_counter() - started,
        )

    def _files(self, listing: Listing) -> dict[str, Coverage]:
        """How much of each file is kept, whether its articles were read now or before."""
        with self.db.read() as session:
            query = select(Article.source_key, Article.coverage).where(Article.source == self.source)
            stored = {key: Coverage(**coverage) for key, coverage in session.execute(query) if coverage is not None}
        files: dict[str, Coverage] = {}
        # The articles of a table are numerous, and listed one after another.
        for name, articles in groupby(listing.found, key=lambda found: found.file or found.key):
            known = [stored[article.key] for article in articles if article.key in stored]
            if known:
                files[name] = sum(known, files.get(name, Coverage()))
        for name, lost in listing.lost.items():
            files[name] = files.get(name, Coverage()) + Coverage(found=lost)
        return files

    def _screened(self) -> dict[str, Sequence[str]]:
        """What was left out of each article, now or before."""
        with self.db.read() as session:
            query = select(Article.source_key, Article.screened).where(Article.source == self.source)
            rows = session.execute(query.order_by(Article.source_key)).all()
        return {key: texts for key, texts in rows if texts}

    def _is_known(self, key: str, content_hash: str) -> bool:
        """Whether the article is stored as it is, and as it would be now."""
        ways = {self.screens and self.screen is not None, self.screens}
        return self._known.get(key) in {self._digest(content_hash, is_screened=one) for one in ways}

    def _digest(self, content_hash: str, *, is_screened: bool) -> str:
        """Changes when the article does, and when it would now be screened otherwise, cut into other passages or get
        another product or inbox."""
        products = f"-{self.taxonomy.products_hash}" if self.taxonomy is not None else ""
        inbox = f"@{self.inbox_id}" if self.inbox_id is not None else ""
        screened = f"!{screening.REVISION}" if is_screened else ""
        return f"{REVISION}{'+' if self.keep_picture is not None else ''}{screened}{products}{inbox}:{content_hash}"

    def _take(self, found: Found, listing: Listing, gone: set[str]) -> None:
        """Read an article with its pictures, unless it turns out to be unchanged."""
        try:
            article = found.read()
            inbox_id = self._inbox_of(article)
        except NotFound as error:  # listed, but it no longer exists
            listing.failed.append((found.key, error.message))
            gone.update({found.key} & self._known.keys())
            self._count_done()
        except AssistantError as error:
            listing.fail(found.key, error.message, doubtful=found.key)
            self._count_done()
        else:
            content_hash = found.content_hash or (article.content_hash if article is not None else "")
            if article is None or self._is_known(found.key, content_hash):
                self._unchanged += 1
                self._report_stored(found.key, article)
                self._count_done()
            else:
                self._waiting.append(self._prepare(article, content_hash, inbox_id, listing))

    def _report_stored(self, key: str, article: ArticleSource | None) -> None:
        if self.stored is not None:
            self.stored(key, article)

    def _count_done(self) -> None:
        self._done += 1
        self.progress(self._done, self._total, "Importing articles")

    def _inbox_of(self, article: ArticleSource | None) -> int | None:
        """Raises `Invalid` for an unknown one: its article must not be everybody's."""
        if article is None or article.inbox is None:
            return self.inbox_id
        if article.inbox not in self._inboxes:
            raise Invalid(f"is for the inbox {article.inbox!r}, which does not exist")
        return self._inboxes[article.inbox]

    def _prepare(self, article: ArticleSource, content_hash: str, inbox_id: int | None, listing: Listing) -> Prepared:
        screen = self.screen if self.screens else None
        orders: tuple[str, ...] = ()
        if screen is not None:
            try:
                article, orders = screen.article(article)
            except AssistantError as error:  # the next import tries again
                screen = None
                listing.failed.append((article.key, f"was not tried on the model: {error.message}"))
        article = self._with_product(article)
        pieces = cut(article)
        passages = list(pieces.passages)
        figures = []
        for figure in pieces.figures:
            kept = self._keep_picture(figure, article, listing)
            if kept is None:
                continue
            if screen is not None and kept.read:
                read, more = screen.text(kept.read) if article.visibility == Visibility.PUBLIC else (kept.read, ())
                kept, orders = replace(kept, read=read), (*orders, *more)
            own = figure.passages(kept.read)
            beside = [figure.beside] if 0 <= figure.beside < len(pieces.passages) else []
            figures.append(FigureRow(figure, kept, (*beside, *range(len(passages), len(passages) + len(own)))))
            passages += own
        digest = self._digest(content_hash, is_screened=screen is not None)
        return Prepared(article, digest, inbox_id, tuple(passages), tuple(figures), orders)

    def _with_product(self, article: ArticleSource) -> ArticleSource:
        if article.product is not None or self.taxonomy is None:
            return article
        opening = " ".join(block for section in article.sections[:1] for block in section.blocks)[:_OPENING]
        return replace(article, product=self.taxonomy.product_named(article.title, opening))

    def _keep_picture(self, figure: FigureText, article: ArticleSource, listing: Listing) -> KeptPicture | None:
        if self.keep_picture is None:
            return None
        try:
            return self.keep_picture(figure.picture)
        except AssistantError as error:
            listing.failed.append((article.key, f"a picture was left out: {error.message}"))
            return None

    def _store(self) -> None:
        """Embed what is waiting, with no transaction open, and store it. If another embedder is served by the time an
        article is stored, the rest is embedded with that one."""
        while self._waiting:
            try:
                self._embed_and_store()
            except NotServed as other:
                if self.reopen is None:
                    raise Conflict(f"Articles are searched with another embedder: {other.served.name}.") from other
                self.embedder = self.reopen(other.served)
        self._flushed_at = monotonic()

    def _embed_and_store(self) -> None:
        """Each article is replaced, in a transaction of its own, as soon as all its passages are embedded."""
        texts = {passage.content_hash: passage.indexed for one in self._waiting for passage in one.passages}
        embedders = [self.embedder] if self.second is None else [self.second, self.embedder]
        vectors = {one.name: known_vectors(self.db, list(texts), embedding_model=one.name) for one in embedders}
        self._store_complete(vectors)
        for embedder in embedders:
            known = vectors[embedder.name]
            for vectors_of in in_batches({key: text for key, text in texts.items() if key not in known}, embedder):
                known |= {key: to_bytes(vector) for key, vector in vectors_of.items()}
                self._store_complete(vectors)

    def _store_complete(self, vectors: Mapping[str, Mapping[str, bytes]]) -> None:
        """Store the articles whose passages all have their vectors; the others keep waiting."""
        for one in tuple(self._waiting):
            if all(passage.content_hash in known for passage in one.passages for known in vectors.values()):
                self._store_one(one, vectors)
                self._waiting = [other for other in self._waiting if other is not one]

    def _store_one(self, one: Prepared, vectors: Mapping[str, Mapping[str, bytes]]) -> None:
        try:
            save(self.db, self.source, one, vectors, self.embedder)
        except IntegrityError:  # another import has just added it
            save(self.db, self.source, one, vectors, self.embedder)
        self._passages += len(one.passages)
        self._figures += len(one.figures)
        if one.article.key in self._known:
            self._updated += 1
        else:
            self._added += 1
        self._report_stored(one.article.key, one.article)
        self._count_done()

    def _remove(self, keys: Sequence[str]) -> int:
        for key in keys:
            # One by one: transactions stay short, and imports do not wait for each other's articles.
            with self.db.begin() as session:
                session.execute(delete(Article).where(Article.source == self.source, Article.source_key == key))
        return len(keys)


def _gone(listing: Listing, stored: Mapping[str, str]) -> list[str]:
    """Stored keys that have left the source: neither found, nor part of something that could not be read now."""
    keep = {found.key for found in listing.found} | listing.doubtful
    if "" in keep:  # the list itself is incomplete
        return []
    return [key for key in stored if key not in keep and not any(file in keep for file in _files_of(key))]


def _files_of(key: str) -> Iterator[str]:
    """The files that an article with this key may be a row of; a file's name may contain a # too."""
    place = key.find("#")
    while place >= 0:
        yield key[:place]
        place = key.find("#", place + 1)
