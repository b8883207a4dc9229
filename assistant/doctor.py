"""Checks of the installation. Each reports ok, warn or fail, what was found, and what to do."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from assistant import backup_schedule, engine
from assistant.checks import Check, Status
from assistant.db import Database, check, current_revision, patience, utcnow
from assistant.desk import inboxes, processes, queue, sealing
from assistant.errors import AssistantError
from assistant.faults import advice, passing_fault
from assistant.knowledge import embedding
from assistant.mailer import SMTP, open_mailer
from assistant.models import JobStatus
from assistant.oidc import Provider
from assistant.scanner import Clamd
from assistant.settings import Settings, unknown_settings
from assistant.skills.taxonomy import load_taxonomy
from assistant.storage import Storage

# SQLite's rare write-ahead-log reset race is fixed in these versions.
_WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
# Seconds to wait for the database's lock.
_PATIENCE = 2.0
_DISK_WARN, _DISK_FAIL = 2e9, 2e8


def run(settings: Settings) -> list[Check]:
    """All checks, even after a failure. Loads no model; changes nothing except that it creates the data folder."""
    checks: list[Callable[[Settings], Iterator[Check]]] = [
        _python,
        _settings,
        _models,
        _database,
        _sqlite,
        _taxonomy,
        _storage,
        _scanner,
        _widget,
        _mail,
        _oidc,
        _backups,
        _disk,
        _privacy,
    ]
    return [result for one in checks for result in _run_check(one, settings)]


def _run_check(one: Callable[[Settings], Iterator[Check]], settings: Settings) -> list[Check]:
    name = one.__name__.strip("_")
    try:
        return list(one(settings))
    except Exception as error:
        if (fault := passing_fault(error)) is not None:
            return [Check(name, "fail", advice(fault))]
        if isinstance(error, AssistantError):
            return [Check(name, "fail", error.message)]
        return [Check(name, "fail", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")]


def _python(_settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", "ok", version)


def _settings(settings: Settings) -> Iterator[Check]:
    for name in unknown_settings():
        yield Check(
            "settings", "warn", f"{name} is not a setting", "Check the spelling against the table in README.md."
        )
    if (settings.public_url or "").startswith("https://") and not settings.trusted_proxies:
        advice = "Name the proxy's address in ASSISTANT_TRUSTED_PROXIES; until then all its visitors share one limit."
        yield Check("settings", "warn", "served over HTTPS, but no proxy is trusted", advice)
    if settings.otel_endpoint is not None and find_spec("opentelemetry.exporter") is None:
        advice = "Run: pip install 'photo-support-assistant[otel]'"
        yield Check("settings", "fail", "ASSISTANT_OTEL_ENDPOINT needs a package that is not installed", advice)
    exposed = settings.host not in ("127.0.0.1", "localhost", "::1")
    if exposed and not (settings.public_url or "").startswith("https://"):
        advice = "Put a TLS proxy in front of it and set ASSISTANT_PUBLIC_URL=https://…"
        yield Check("settings", "warn", f"listens on {settings.host} without HTTPS", advice)


def _models(settings: Settings) -> Iterator[Check]:
    return engine.describe(settings)


def _database(settings: Settings) -> Iterator[Check]:
    database = Database(settings.sqlalchemy_url)
    try:
        if current_revision(database) is None:
            yield Check("database", "warn", "does not exist yet", "`assistant serve` and `assistant demo` create it.")
            return
        patience.set(_PATIENCE)
        problems = check(database)
        yield from (Check("database", "fail", problem) for problem in problems)
        if not problems:
            database.probe()
            yield Check("database", "ok", f"{database.engine.dialect.name}, at the current version")
            yield _queue(database)
            yield from processes_of(database)
            yield from _embedder(database)
            yield from _inboxes(database, settings)
            yield _secrets(database, settings)
    finally:
        database.close()


def _queue(database: Database) -> Check:
    with database.read() as session:
        counts = queue.counts(session)
    waiting, dead = counts[JobStatus.QUEUED] + counts[JobStatus.RUNNING], counts[JobStatus.DEAD]
    if dead:
        advice = "See the log for the reason. Once it is fixed, run: assistant jobs retry"
        return Check("queue", "warn", f"{waiting} waiting, {dead} failed for good", advice)
    return Check("queue", "ok", f"{waiting} waiting")


def processes_of(database: Database) -> Iterator[Check]:
    """Servers and workers that use this database, on whatever machine, as they tell."""
    with database.read() as session:
        known = processes.states(session, now=utcnow())
    for one in known:
        if one.is_missed:
            silent = f"{one.name}: not heard of for {one.silent_for.total_seconds():.0f} s"
            yield Check("process", "warn", silent, "It has died, hangs, or cannot reach the database. See its log.")
        elif one.health.trouble is not None:
            yield Check("process", "warn", f"{one.describe()}: {one.health.trouble}")
        else:
            yield Check("process", "ok", one.describe())


def _embedder(database: Database) -> Iterator[Check]:
    """The embedding model in use. `engine.describe` reports the configured one."""
    with database.read() as session:
        state = embedding.status(session)
    if state is not None and state.wanted is not None:
        advice = "A worker embeds them, or run: assistant kb embed. `assistant kb status` shows the progress."
        yield Check("search", "warn", state.describe(), advice)
    elif state is not None:
        yield Check("search", "ok", f"uses {state.served}")


def _inboxes(database: Database, settings: Settings) -> Iterator[Check]:
    taxonomy = load_taxonomy(settings.taxonomy)
    with database.read() as session:
        known = {inbox.key for inbox in inboxes.all_inboxes(session)}
        found = list(inboxes.problems(session, settings, {team.key for team in taxonomy.teams}))
    named = {key for product in taxonomy.products for key in product.inboxes}
    found += [
        (f"the taxonomy names {key}, which does not exist", "Add it, or correct the taxonomy")
        for key in sorted(named - known)
    ]
    yield from (Check("inboxes", "warn", problem, advice) for problem, advice in found)
    if not found:
        yield Check("inboxes", "ok", ", ".join(sorted(known)))


def _secrets(database: Database, settings: Settings) -> Check:
    with database.read() as session:
        stale = sealing.count_stale(session, settings)
    if stale:
        advice = "Run: assistant secrets reencrypt"
        return Check("secrets", "warn", f"{stale} stored ones are not encrypted with the secret key in use", advice)
    return Check("secrets", "ok", "stored ones are encrypted with the secret key in use")


def _sqlite(settings: Settings) -> Iterator[Check]:
    if not settings.sqlalchemy_url.startswith("sqlite"):
        return
    version = tuple(map(int, sqlite3.sqlite_version.split(".")))
    fixed = version >= _WAL_FIXED[0] or any(version[:2] == fix[:2] and version >= fix for fix in _WAL_FIXED)
    if fixed:
        yield Check("sqlite", "ok", sqlite3.sqlite_version)
    else:
        advice = "Back up regularly (assistant backup create), or use a Python built with SQLite 3.51.3 or later."
        yield Check("sqlite", "warn", f"{sqlite3.sqlite_version} has a rare write-ahead-log race", advice)


def _taxonomy(settings: Settings) -> Iterator[Check]:
    taxonomy = load_taxonomy(settings.taxonomy)
    counts = f"{len(taxonomy.categories)} categories, {len(taxonomy.teams)} teams, {len(taxonomy.products)} products"
    if settings.taxonomy is None:
        advice = "Write your own TOML file and set ASSISTANT_TAXONOMY to it."
        yield Check("taxonomy", "warn", f"the sample's: {counts}", advice)
    else:
        yield Check("taxonomy", "ok", counts)


def _storage(settings: Settings) -> Iterator[Check]:
    Storage.open(settings.attachments_url).check()
    yield Check("storage", "ok", "attachments are readable and writable")


def _scanner(settings: Settings) -> Iterator[Check]:
    if settings.scanner:
        Clamd(settings.scanner).check()
        yield Check("scanner", "ok", "files are scanned for malware")


def _mail(settings: Settings) -> Iterator[Check]:
    mailer = open_mailer(settings.smtp_url.get_secret_value() if settings.smtp_url is not None else None)
    advice = "Set ASSISTANT_SMTP_URL and ASSISTANT_MAIL_FROM: customers who have left learn of replies by mail only."
    if isinstance(mailer, SMTP):
        mailer.check()
        yield Check("mail", "ok", f"is sent from {settings.sender}")
    else:
        yield Check(
            "mail", "warn", "is not sent" if settings.smtp_url is None else "is only written to the log", advice
        )


def _oidc(settings: Settings) -> Iterator[Check]:
    if settings.oidc_issuer is not None:
        Provider(settings, settings.base_url).check()
        yield Check("oidc", "ok", f"agents may sign in with {settings.oidc_issuer}")


def _widget(settings: Settings) -> Iterator[Check]:
    sites = settings.widget_origins
    secure = [site for site in sites if site.startswith("https://")]
    if secure and settings.base_url.startswith("http://") and settings.public_url is not None:
        advice = "Browsers load nothing from http:// into such pages. Serve over HTTPS, and set ASSISTANT_PUBLIC_URL."
        yield Check("widget", "warn", f"is served over HTTP to pages of {secure[0]}", advice)
    elif sites:
        yield Check("widget", "ok", f"may be embedded by {', '.join(sites)}")
    else:
        advice = "List your sites in ASSISTANT_WIDGET_ORIGINS, or in the origins of their inbox."
        yield Check(
            "widget", "ok", "may be embedded by this server's own pages, and by sites that an inbox lists", advice
        )


def _backups(settings: Settings) -> Iterator[Check]:
    state = backup_schedule.state(settings, now=utcnow())
    if state is None:
        advice = "Set ASSISTANT_BACKUP_HOURS=24, or run `assistant backup create` by a timer of your own."
        yield Check("backups", "ok", "are not made by schedule", advice)
    elif state.problem is not None:
        yield Check("backups", "warn", state.problem)
    else:
        yield Check("backups", "ok", f"newest of {state.last_at:%Y-%m-%d %H:%M} UTC")


def _disk(settings: Settings) -> Iterator[Check]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data_dir).free
    status: Status = "fail" if free < max(_DISK_FAIL, settings.disk_reserve) else "warn" if free < _DISK_WARN else "ok"
    advice = "Free some space for photos and the database." if status != "ok" else ""
    yield Check("disk", status, f"{free / 1e9:.1f} GB free", advice)


def _privacy(settings: Settings) -> Iterator[Check]:
    """Customers' data and the signing key are not for everybody with an account on this machine."""
    if not settings.data_dir.stat().st_mode & stat.S_IXOTH:  # nobody else gets in
        return
    open_to_all = [path for path in settings.data_dir.iterdir() if path.stat().st_mode & stat.S_IRWXO]
    if open_to_all:
        names = ", ".join(sorted(path.name for path in open_to_all)[:5])
        yield Check(
            "privacy", "warn", f"every user of this machine can read: {names}", f"Run: chmod -R o= {settings.data_dir}"
        )
