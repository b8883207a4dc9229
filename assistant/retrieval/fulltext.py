"""The database's full-text index (FTS5 or tsvector): how common words are, and which passages fit them best.

Any text may come in: only word characters reach the index, always quoted, and values are always bound.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from assistant.models import Visibility

# A search reads about this many entries of the word index, those of rare words first. PostgreSQL fetches each row to
# rank it, at about 7 µs.
READ_AT_MOST = 5_000
READ_AT_MOST_POSTGRESQL = 1_500
# PostgreSQL counts no further. A word with more passages that is not one of the most frequent lies between this and
# the least frequent of those.
_COUNTED = 400
# BM25 weights of the columns heading, text, codes, scope: codes have a search of their own, scope only filters.
_COLUMN_WEIGHTS = "bm25(2.0, 1.0, 0.0, 0.0)"
# Weights of D (identifiers), C (unused), B (text) and A (heading) in PostgreSQL's ts_rank.
_RANK_WEIGHTS = "{0, 0, 0.5, 1.0}"


@dataclass(frozen=True)
class Filters:
    """What may be found. ``visibilities``, ``languages`` and ``inbox`` are strict, ``products`` are only preferred. No
    languages means all. ``inbox``: what the customers of the one with this id may read; None, for agents: all."""

    visibilities: tuple[Visibility, ...] = (Visibility.PUBLIC,)
    languages: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    inbox: int | None = None


def count(session: Session, words: Sequence[str], *, frequent: Mapping[str, int], passages: int) -> dict[str, int]:
    """How many passages have each word, whoever may see them. ``frequent``: see `frequent_lexemes`. ``passages``: the
    total, which also counts for words that the index leaves out."""
    if _is_sqlite(session):
        statement = text("SELECT count(*) FROM passages_fts WHERE passages_fts MATCH :match")
        matches = {word: _in_text(f'"{word}"') for word in words}
        return {word: int(session.execute(statement, {"match": match}).scalar_one()) for word, match in matches.items()}
    lexemes = _lexemes(session, words)
    least = min(frequent.values(), default=passages)
    statement = text(
        "SELECT count(*) FROM (SELECT 1 FROM passages WHERE fts_words @@ CAST(:match AS tsquery) LIMIT :most) found"
    )
    most = _COUNTED if frequent else passages
    counts = {}
    for word in words:
        lexeme = lexemes.get(word)
        if lexeme is None:
            counts[word] = passages
        elif lexeme in frequent:
            counts[word] = frequent[lexeme]
        else:
            found = int(session.execute(statement, {"match": f"'{lexeme}'", "most": most}).scalar_one())
            counts[word] = found if found < most else max(found, round(math.sqrt(found * least)))
    return counts


def in_use(session: Session, words: Sequence[str]) -> set[str]:
    """The words that some passage has, whoever may see it, or that the index leaves out as too common."""
    if _is_sqlite(session):
        statement = text("SELECT EXISTS (SELECT 1 FROM passages_fts WHERE passages_fts MATCH :match)")
        matches = {word: _in_text(f'"{word}"') for word in words}
    else:
        statement = text("SELECT EXISTS (SELECT 1 FROM passages WHERE fts_words @@ CAST(:match AS tsquery))")
        matches = {word: f"'{lexeme}'" for word, lexeme in _lexemes(session, words).items()}
    missing = {word for word, match in matches.items() if not session.scalar(statement, {"match": match})}
    return set(words) - missing


def frequent_lexemes(session: Session, *, passages: int) -> dict[str, int]:
    """About how many passages have each of the most frequent words, from PostgreSQL's statistics (ANALYZE): counting
    them takes longer the more there are. Empty on SQLite, which counts fast."""
    if _is_sqlite(session):
        return {}
    statement = """
        SELECT lexeme, share
        FROM pg_stats, unnest(most_common_elems::text::text[], most_common_elem_freqs) s(lexeme, share)
        WHERE schemaname = current_schema() AND tablename = 'passages' AND attname = 'fts_words' AND lexeme IS NOT NULL
    """
    return {row[0]: round(row[1] * passages) for row in session.execute(text(statement))}


def _lexemes(session: Session, words: Sequence[str]) -> dict[str, str]:
    """Word to what PostgreSQL's index stores for it. Words that it leaves out are missing."""
    statement = "SELECT word, tsvector_to_array(to_tsvector('english', word)) FROM unnest(CAST(:words AS text[])) word"
    found = session.execute(text(statement), {"words": list(words)})
    return {word: lexemes[0] for word, lexemes in found if lexemes}


def rarest(counts: Mapping[str, int], *, most: int = READ_AT_MOST) -> list[str]:
    """The words to search for, rarest first, as long as they are in at most ``most`` passages together; at least one if
    any word is known."""
    chosen: list[str] = []
    entries = 0
    for word in sorted((word for word in counts if counts[word]), key=counts.__getitem__):
        entries += counts[word]
        if chosen and entries > most:
            break
        chosen.append(word)
    return chosen


def find(
    session: Session, words: Sequence[str], *, filters: Filters, limit: int, among: Sequence[int] | None = None
) -> list[int]:
    """Ids of the passages that may be found and match the words best (by BM25, or ts_rank), best first. ``among``: only
    these passages."""
    if not words:
        return []
    values: dict[str, object] = {"limit": limit}
    if _is_sqlite(session):
        match = _in_text("(" + " OR ".join(f'"{word}"' for word in words) + ")")
        own = ""
        if among is not None:
            # The sign keeps FTS5 from searching once for every id: thirty times as fast.
            own, values["among"] = "AND +rowid IN (SELECT value FROM json_each(:among))", json.dumps(list(among))
        statement = f"""
            SELECT rowid FROM passages_fts WHERE passages_fts MATCH :match AND rank MATCH '{_COLUMN_WEIGHTS}' {own}
            ORDER BY rank LIMIT :limit
        """  # noqa: S608  (only our own constants are put in)
        return _ids(session, statement, match=_with_scope(match, filters), **values)
    own = ""
    if among is not None:
        own, values["among"] = "AND p.id = ANY(:among)", list(among)
    # Passages are checked against the filters one by one, best first, until there are enough; a join would read every
    # article.
    statement = f"""
        SELECT ranked.id FROM (
            SELECT p.id, p.article_id FROM passages p, to_tsquery('english', :match) query
            WHERE p.fts_words @@ query {own}
            ORDER BY ts_rank('{_RANK_WEIGHTS}', p.fts_words, query, 1) DESC, p.id OFFSET 0
        ) ranked WHERE (SELECT {may_be_found(filters)} FROM articles a WHERE a.id = ranked.article_id) LIMIT :limit
    """  # noqa: S608
    # Without weights in the query: the index does not hold them, and asking for them reads every row's words twice. So
    # identifiers match too, but do not count in the ranking.
    return _ids(session, statement, match=" | ".join(f"'{word}'" for word in words), **values, **bound(filters))


def find_code(session: Session, code: str, *, filters: Filters, limit: int) -> list[int]:
    """Ids of passages that may be found and contain the canonical identifier."""
    if _is_sqlite(session):
        statement = "SELECT rowid FROM passages_fts WHERE passages_fts MATCH :match LIMIT :limit"
        return _ids(session, statement, match=_with_scope(f'codes : "{code.lower()}"', filters), limit=limit)
    # Unordered: sorting by id makes PostgreSQL walk the whole table instead of using the identifiers' index.
    statement = f"""
        SELECT p.id FROM passages p JOIN articles a ON a.id = p.article_id
        WHERE string_to_array(p.codes, ' ') @> ARRAY[:code] AND {may_be_found(filters)} LIMIT :limit
    """  # noqa: S608
    return sorted(_ids(session, statement, code=code, limit=limit, **bound(filters)))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _in_text(match: str) -> str:
    """The match restricted to the columns of words, without identifiers and filters."""
    return f"{{heading text}} : {match}"


def _with_scope(match: str, filters: Filters) -> str:
    """Filters are words in the column ``scope``, so that the index itself leaves out what may not be found. They end in
    a digit, as the migration writes them, because the index's stemmer does not change such words."""
    scopes = [[f"v{visibility.value}0" for visibility in filters.visibilities] or ["nothing0"]]
    if filters.languages:
        scopes.append([f"l{re.sub(r'[^a-z0-9]', '', language.lower())}0" for language in filters.languages])
    clauses = ["scope : (" + " OR ".join(f'"{word}"' for word in words) + ")" for words in scopes]
    allowed = " AND ".join([f"({match})", *clauses])
    if filters.inbox is None:
        return allowed
    return f'({allowed}) NOT (scope : "limited0" NOT scope : "i{filters.inbox}0")'


def may_be_found(filters: Filters) -> str:
    """Which passages of articles ``a`` may be found at all, on PostgreSQL; `bound` gives the values."""
    inbox = "AND (a.inbox_id IS NULL OR a.inbox_id = :inbox)" if filters.inbox is not None else ""
    return f"""a.visibility = ANY(:visibilities) {inbox}
        AND (cardinality(CAST(:languages AS text[])) = 0 OR lower(a.language) = ANY(:languages))"""


def bound(filters: Filters) -> dict[str, object]:
    return {
        "visibilities": [visibility.value for visibility in filters.visibilities],
        "languages": [language.lower() for language in filters.languages],
        **({"inbox": filters.inbox} if filters.inbox is not None else {}),
    }


def _ids(session: Session, statement: str, **values: object) -> list[int]:
    return [int(row[0]) for row in session.execute(text(statement), values)]
