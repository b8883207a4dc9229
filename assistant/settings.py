"""Settings: read once at start from the environment (``ASSISTANT_*``) and an optional TOML file.

Descriptions are written for operators: a test compares them with the table in README.md.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
import tomllib
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assistant.errors import NotReady

PREFIX = "ASSISTANT_"
CONFIG_VARIABLE = "ASSISTANT_CONFIG"
KEY_VARIABLE = "ASSISTANT_API_KEY"  # of `assistant mcp`, which asks an installation elsewhere
DEFAULT_CONFIG = "assistant.toml"
_SHORTEST_SECRET = 16
_PORTS = {"http": 80, "https": 443}


def checked_rate_limit(text: str) -> str:
    """What is like ``120 per minute; 2000 per hour``. Raises `ValueError`."""
    from limits import parse_many

    try:
        allowed = min(limit.amount for limit in parse_many(text))
    except ValueError:
        allowed = 0
    if allowed < 1:
        raise ValueError(f"{text[:60]!r} is no limit; write for example: 120 per minute")
    return text


class Settings(BaseSettings):
    """One field, one environment variable: ``data_dir`` is ``ASSISTANT_DATA_DIR``. The environment wins over TOML."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", protected_namespaces=(), hide_input_in_errors=True
    )

    company: str = Field("Our shop", description="Name shown to customers in the widget and in written answers.")
    data_dir: Path = Field(Path("var"), description="Folder for all data.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL, e.g. `postgresql+psycopg://…` (default: SQLite in the data folder).",
    )
    storage_url: str | None = Field(
        None,
        description="Where attachments are stored: a folder or `s3://bucket/prefix` (default: in the data folder).",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Signs sessions and links, and encrypts stored secrets (default: generated and stored in the data folder).",
    )
    previous_secret_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        description="Secret keys of before, separated by commas (or a JSON list): what they signed and encrypted stays valid.",
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `serve` listens on.")
    public_url: str | None = Field(
        None, description="Address customers use, if it differs from host and port; may have a path."
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Addresses or networks of the proxies in front, separated by commas; with several in a row, all of them. Only they are believed about a client's address, scheme, host and path.",
    )
    widget_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Sites that may embed the widget: origins such as `https://shop.example`, separated by commas (default: only this server's own pages).",
    )
    contact: str | None = Field(
        None,
        description="Where customers turn while the widget cannot be reached: an e-mail address, or the address of a page.",
    )
    threads: int = Field(128, ge=4, le=2000, description="Web threads. Each open live stream occupies one.")
    workers: int | None = Field(
        None,
        ge=0,
        le=64,
        description="Worker threads, i.e. messages processed in parallel (default: 8 with a model, which batches them, else 2). Set 0 for `serve` if `assistant worker` runs separately.",
    )

    model: str = Field(
        "auto",
        description="Vision-language model: a hub id, a local folder (e.g. from `assistant train`), `none`, or `auto` (on a GPU, the largest default that fits; otherwise the bundled small model, if the taxonomy is the sample's).",
    )
    model_revision: str | None = Field(
        None, description="Commit of the hub checkpoint; required unless the model is one of the defaults."
    )
    model_writes: bool | None = Field(
        None, description="Whether the model may write answers (default: yes from 1.5 billion parameters)."
    )
    quantize: Literal["auto", "nf4", "none"] = Field(
        "auto", description="4-bit quantization (NF4, bitsandbytes). `auto`: only on a GPU."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="Precision of unquantized weights. `auto`: bf16 (or fp16) on a GPU, fp32 on a CPU.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    remote_url: str | None = Field(
        None, description="Base URL of an OpenAI-compatible model server to use instead of the engine."
    )
    remote_model: str | None = Field(None, description="Model name on the remote server.")
    remote_api_key: SecretStr | None = Field(None, description="Key for the remote server.")
    remote_mask: bool = Field(
        True,
        description="Whether the remote server gets placeholders for the personal data that is recognised in texts. They are replaced again in what it writes.",
    )
    remote_photos: bool = Field(
        True,
        description="Whether the remote server gets customers' photos, in which nothing is masked. Without them it gets what OCR reads.",
    )
    engine_queue: int = Field(
        32, ge=1, description="Requests that may wait for the engine; further ones are refused as busy."
    )
    engine_slots: int = Field(16, ge=1, le=256, description="Requests batched at once; fewer if memory is short.")
    engine_memory: float = Field(
        0.6,
        gt=0,
        le=0.95,
        description="Share of the memory left after loading the model that the key-value cache may use.",
    )
    engine_chunk: float = Field(
        0.15, ge=0, le=10, description="Seconds per step that prefilling long prompts may delay running answers."
    )
    engine_compile: bool = Field(
        False,
        description="Compile the decoding step at load (15 s or more; needs a C++ compiler on a CPU). Used only if correct and faster.",
    )
    engine_timeout: float = Field(
        120.0, gt=0, description="Time limit of a request in seconds, including its wait in the queue."
    )
    context_tokens: int = Field(4096, ge=512, description="Token budget of a prompt and its answer together.")
    embeddings: str = Field(
        "auto",
        description="Sentence embeddings: `auto` (the bundled offline model), a sentence-transformers hub id or a folder.",
    )
    photo_embeddings: str = Field(
        "auto",
        description="Search by appearance beside what is read in a photo: `auto` (by the features of photos below, offline), a CLIP- or SigLIP-class model, a hub id or folder, or `off`.",
    )
    photo_features: str | None = Field(
        "auto",
        description="Features by which own products are learned: `auto` (EfficientNet-Lite0, offline), `small` (the bundled model's tower), a DINO-, SigLIP- or CLIP-class hub id or a folder.",
    )
    reranker: str | None = Field(
        None, description="Cross-encoder that reranks the best passages: a hub id or a folder (default: none)."
    )
    reranker_seconds: float = Field(1.0, gt=0, le=30, description="Time limit of the reranker per search, in seconds.")
    ocr: Literal["auto", "off"] = Field(
        "auto", description="Text recognition in photos. `auto`: on if rapidocr is installed."
    )
    taxonomy: Path | None = Field(
        None, description="TOML file with categories, teams and products (default: the sample's)."
    )
    answer_threshold: float = Field(
        0.5, ge=0, le=1, description="Confidence (0 to 1) that an answer must have for the assistant to give it."
    )
    kb_private_addresses: bool = Field(
        False, description="Allow importing websites from the private network or this machine."
    )
    webhook_private_addresses: bool = Field(
        False, description="Allow webhooks in the private network or on this machine, and those without TLS."
    )
    kb_screening: bool = Field(
        True,
        description="Leave out of imported public articles what diverts the model that writes answers: orders to an AI.",
    )
    kb_pause: float = Field(
        1.0,
        ge=0,
        le=60,
        description="Seconds between requests to an imported website; its robots.txt may require more.",
    )

    photo_max_bytes: int = Field(15_000_000, ge=1_000, description="Maximum size of an uploaded file, in bytes.")
    photo_max_pixels: int = Field(50_000_000, ge=10_000, description="Maximum size of a photo, in pixels.")
    photo_max_side: int = Field(
        1600, ge=64, description="Photos are scaled down to this length of the longer side, in pixels."
    )
    photos_per_message: int = Field(6, ge=1, le=50, description="Maximum number of files per message.")
    conversation_max_bytes: int = Field(
        250_000_000, ge=0, description="Maximum size of all files of a conversation, in bytes."
    )
    visitor_daily_bytes: int = Field(
        500_000_000, ge=0, description="Maximum size of what a widget visitor (address) may store a day, in bytes."
    )
    visitor_daily_files: int = Field(
        300, ge=0, description="Maximum number of files that a widget visitor (address) may store a day."
    )
    disk_reserve: int = Field(
        500_000_000,
        ge=0,
        description="Free disk space, in bytes, below which files are refused and text still accepted.",
    )
    file_types: list[str] | None = Field(
        None,
        description="Extensions of ordinary files, as a JSON list; all others are risky (default: documents, texts, ZIP, 7z, sound, video).",
    )
    risky_files: Literal["mark", "refuse"] = Field(
        "mark",
        description="Programs, macros, web pages, SVG, files in disguise: stored and marked for agents, or refused.",
    )
    scanner: str | None = Field(
        None, description="Malware scanner (clamd): `tcp://host:port` or `unix:///path` (default: none)."
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server for outgoing mail: `smtp://user:password@host:587` (STARTTLS) or `smtps://…`; `console:` writes mails to the log, for development (default: none; nobody is sent mail).",
    )
    mail_from: str | None = Field(
        None,
        description="Sender of outgoing mail, e.g. `Our shop <support@shop.example>`; required with a mail server.",
    )
    reply_mail_minutes: int = Field(
        5,
        ge=0,
        le=10_000,
        description="Minutes that a reply in the widget stays unseen before its customer is sent it by mail; 0: never.",
    )
    session_idle_hours: int = Field(
        24,
        ge=1,
        le=720,
        description="Hours without a request (open pages make some) after which an agent is signed out.",
    )
    session_days: int = Field(14, ge=1, le=365, description="Days after which an agent signs in again in any case.")
    second_factor_roles: Annotated[list[Literal["viewer", "agent", "lead", "admin"]], NoDecode] = Field(
        default_factory=list,
        description="Roles that need a second factor to sign in, separated by commas, e.g. `lead,admin` (default: none; every agent may have one).",
    )
    oidc_issuer: str | None = Field(
        None,
        description="OpenID Connect provider that agents may sign in with: its issuer, e.g. `https://login.example.org/realms/shop` (default: none).",
    )
    oidc_client_id: str | None = Field(None, description="Our client id at that provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Our secret there (default: none, for a public client)."
    )
    oidc_groups_claim: str = Field("groups", description="Claim that lists somebody's groups there.")
    oidc_roles: dict[str, Literal["viewer", "agent", "lead", "admin"]] | None = Field(
        None,
        description='Roles by group, as JSON: `{"support": "agent", "it": "admin"}`. The highest counts at each sign-in there; whoever is in none is refused (default: roles are those set here).',
    )
    undo_send_seconds: int = Field(
        10, ge=0, le=120, description="Seconds in which agents can take back a reply that they have sent; 0: none."
    )
    message_max_chars: int = Field(20_000, ge=100, description="Maximum length of a message, in characters.")

    backup_hours: int = Field(
        0, ge=0, le=8760, description="Hours between two backups that a worker makes by itself; 0: none."
    )
    backup_keep: int = Field(7, ge=1, le=10_000, description="How many of these backups are kept.")
    backup_folder: Path | None = Field(
        None, description="Folder for these backups, best on another disk (default: `backups` in the data folder)."
    )
    rate_limit: str = Field(
        "120 per minute", description="Request limit per API key or visitor, e.g. `120 per minute; 2000 per hour`."
    )
    access_log: bool = Field(
        True, description="A line in the log for each request, with the client's address, and for each job."
    )
    otel_endpoint: str | None = Field(
        None,
        description="Where spans of requests, jobs and calls of models are sent: an OTLP receiver over HTTP, e.g. `http://127.0.0.1:4318` (extra `otel`; default: nowhere).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Log level. `debug` also logs the messages of unexpected errors, which may quote customers."
    )

    @field_validator("previous_secret_keys", "second_factor_roles", "trusted_proxies", "widget_origins", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """From the environment: separated by commas, or a JSON list."""
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return value.replace(",", " ").split()
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError("begins like a JSON list and is none; separate the values by commas instead") from error

    @field_validator("widget_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        return [origin_of(text) for text in value]

    @field_validator("public_url", "otel_endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://host")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value} is no address: write https:// and the host")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        scheme = "sqlite" if value is None else value.partition(":")[0]
        if scheme in ("postgres", "postgresql"):
            raise ValueError(f"begins with {scheme}:, write postgresql+psycopg://user:password@host/database")
        if scheme not in ("sqlite", "postgresql+psycopg"):
            raise ValueError("must begin with postgresql+psycopg:// or sqlite:///")
        return value

    @field_validator("storage_url")
    @classmethod
    def _storage(cls, value: str | None) -> str | None:
        scheme, is_address, rest = (value or "").partition("://")
        if value is not None and not (scheme and (rest.strip("/") or not is_address)):
            raise ValueError("names no bucket or folder: write a folder, or s3://bucket/prefix")
        if not is_address and re.match(r"[a-z][a-z0-9+.-]+:", scheme):
            raise ValueError(f"{value} is no folder and no address: write a folder, or s3://bucket/prefix")
        return value

    @field_validator("secret_key")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < _SHORTEST_SECRET:
            advice = "Take the output of `openssl rand -hex 32`, or omit it: one is generated"
            raise ValueError(f"is shorter than {_SHORTEST_SECRET} characters, so it can be guessed. {advice}")
        return value

    @field_validator("previous_secret_keys")
    @classmethod
    def _previous_secrets(cls, value: list[SecretStr]) -> list[SecretStr]:
        for number, secret in enumerate(value, 1):
            if len(secret.get_secret_value()) < _SHORTEST_SECRET:
                advice = "Give each as it was when it was in use, or leave it out"
                raise ValueError(f"number {number} is shorter than {_SHORTEST_SECRET} characters. {advice}")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        url = urlsplit(value.get_secret_value() if value is not None else "console:")
        try:
            is_server = url.scheme in ("smtp", "smtps") and url.hostname and url.port != 0 and not url.path.strip("/")
        except ValueError:  # of the port
            is_server = False
        if not is_server and url.geturl() != "console:":
            raise ValueError("is no mail server; write smtp://user:password@host:587, smtps://… or console:")
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if _address(value or "support@localhost") is None:
            raise ValueError("is no address; write support@shop.example or Our shop <support@shop.example>")
        return value

    @model_validator(mode="after")
    def _mail_is_from_somebody(self) -> Self:
        if self.mail_from is None and self.smtp_url is not None and self.smtp_url.get_secret_value() != "console:":
            raise ValueError("ASSISTANT_SMTP_URL needs ASSISTANT_MAIL_FROM, the address that mail comes from")
        return self

    @model_validator(mode="after")
    def _provider_knows_us(self) -> Self:
        if self.oidc_issuer is None:
            return self
        parts = urlsplit(self.oidc_issuer)
        is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not (is_here or (parts.scheme == "https" and parts.hostname)):
            raise ValueError("ASSISTANT_OIDC_ISSUER must be an address that begins with https://")
        if self.oidc_client_id is None:
            raise ValueError("ASSISTANT_OIDC_ISSUER needs ASSISTANT_OIDC_CLIENT_ID, our client id there")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                ip_network(network, strict=False)
            except ValueError as error:
                example = "write for example 127.0.0.1 or 10.0.0.0/8"
                raise ValueError(f"{network!r} is no address or network; {example}") from error
        return value

    @field_validator("rate_limit")
    @classmethod
    def _limits(cls, value: str) -> str:
        return checked_rate_limit(value)

    @field_validator("model", "embeddings", "photo_embeddings", "photo_features", "reranker")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; omit it to use the default")
        return value.strip() if value is not None else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_dir / 'assistant.db').resolve()}"

    @property
    def attachments_url(self) -> str:
        return self.storage_url or str((self.data_dir / "attachments").resolve())

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def sender(self) -> Address:
        """Whom our mail comes from, by the company's name unless the address has one of its own."""
        named = _address(self.mail_from or "") or Address(addr_spec="support@localhost")
        return named if named.display_name else Address(" ".join(self.company.split()), addr_spec=named.addr_spec)

    def signing_key(self) -> str:
        """The configured secret key, or one generated on first use, readable by its owner only.

        Raises `NotReady` if the generated one was damaged."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.data_dir / "secret.key"
        if not path.exists():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Complete or absent: of two processes that start at once, one links its key and both read that.
            with tempfile.NamedTemporaryFile("w", dir=self.data_dir) as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                with suppress(FileExistsError):
                    os.link(file.name, path)
        key = path.read_text().strip()
        if len(key) < _SHORTEST_SECRET:
            raise NotReady(
                "secret.key in the data folder is damaged: it is empty or too short. Put it back from a backup, or "
                "delete it to have a new one made: everybody signs in anew then, and stored secrets are lost."
            )
        return key

    def signing_keys(self) -> tuple[str, ...]:
        """All that may have signed or encrypted something, the one in use first. Raises as `signing_key` does."""
        return self.signing_key(), *(key.get_secret_value() for key in self.previous_secret_keys)


def _address(text: str) -> Address | None:
    """The one mail address, with or without a name, that the text is; None if it is anything else."""
    name, bracket, address = text.strip().rpartition("<")
    if bracket:
        address = address.removesuffix(">")
    try:
        found = Address(" ".join(name.replace('"', "").split()), addr_spec=address)
    except (ValueError, IndexError, MessageError):  # whatever the parser says to what is none
        return None
    return found if found.username and found.domain else None


def config_file() -> Path:
    """The settings file. Raises `ValueError` if the configured one does not exist, rather than ignoring its settings."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named and (not Path(named).exists() or Path(named).is_dir()):
        raise ValueError(f"There is no settings file {named}. Check {CONFIG_VARIABLE}.")
    return Path(named or DEFAULT_CONFIG)


def origin_of(text: str) -> str:
    """The origin as browsers write it, e.g. ``https://shop.example``; ``https://*.shop.example`` for every subdomain.

    Raises `ValueError` if it is none."""
    scheme, _, rest = text.strip().lower().partition("://")
    wild = "*." if rest.startswith("*.") else ""
    try:
        parts = urlsplit(f"{scheme}://{rest.removeprefix(wild)}")
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if scheme not in _PORTS or more or not re.fullmatch("[a-z0-9._:-]+", host):
        raise ValueError(f"{text} is no origin: write https:// and the host, without a path")
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{wild}{shown}" + ("" if port in (None, _PORTS[scheme]) else f":{port}")


def unknown_settings() -> list[str]:
    """Names in the environment and the settings file that look like settings but are not: almost always typos."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE, KEY_VARIABLE}
    variables = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    file = config_file()
    in_file = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return variables + [f"{name} in {file}" for name in in_file if name not in Settings.model_fields]


def settings_table() -> str:
    """The Markdown table of all settings in README.md."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None or default == [] else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)
