"""Settings: read once at start from the environment (``ASSISTANT_*``) and an optional TOML file.

The table in README.md is checked against this class by a test, so every field carries a description that an operator
understands. Nothing here opens a file or a connection except `secret_key`, which is made on first use.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "ASSISTANT_"
CONFIG_VARIABLE = "ASSISTANT_CONFIG"
DEFAULT_CONFIG = "assistant.toml"


class Settings(BaseSettings):
    """One field, one environment variable: ``data_dir`` is ``ASSISTANT_DATA_DIR``. The environment wins over TOML."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", protected_namespaces=())

    company: str = Field("Our shop", description="Name shown to customers in the widget and in written answers.")
    data_dir: Path = Field(Path("var"), description="Folder for everything the product writes.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL; default is SQLite in the data folder. `postgresql+psycopg://…` for PostgreSQL.",
    )
    storage_url: str | None = Field(
        None,
        description="Where attachment bytes live: a folder or `s3://bucket/prefix`; default is in the data folder.",
    )
    secret_key: SecretStr | None = Field(
        None, description="Signs sessions and widget tokens; made and kept in the data folder if not given."
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `serve` listens on.")
    public_url: str | None = Field(None, description="Address customers reach us at, if it differs from host and port.")
    widget_origins: list[str] = Field(
        default_factory=list,
        description="Sites that may embed the widget (JSON list of origins); empty: only our own pages.",
    )
    threads: int = Field(128, ge=4, le=512, description="Web threads; one open live stream takes one.")
    workers: int | None = Field(
        None,
        ge=0,
        le=64,
        description="Worker threads: how many messages are worked on at once (default: 2; 8 with a model, which answers several at once). 0 in `serve` if `assistant worker` runs apart.",
    )

    model: str = Field(
        "auto",
        description="The VLM: a hub id, a local folder (`assistant train` makes a small one), `none`, or `auto` (on a GPU, the largest default that fits; else the small one that comes along, if the taxonomy is the sample's).",
    )
    model_revision: str | None = Field(
        None, description="Commit of the hub checkpoint; required for a hub id of your own."
    )
    model_writes: bool | None = Field(
        None, description="Whether answers may be written by the model; default: yes from 1.5 billion parameters."
    )
    quantize: Literal["auto", "nf4", "none"] = Field(
        "auto", description="NF4 with bitsandbytes: `auto` is on a GPU only."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="What weights that are not quantized are computed in: `auto` is bf16 (or fp16) on a GPU, fp32 on a CPU.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    remote_url: str | None = Field(
        None, description="Base URL of an OpenAI-compatible model server, used instead of the engine."
    )
    remote_model: str | None = Field(None, description="Model name on the remote server.")
    remote_api_key: SecretStr | None = Field(None, description="Key for the remote server.")
    engine_queue: int = Field(32, ge=1, description="Generations that may wait; more are refused as busy.")
    engine_slots: int = Field(
        16, ge=1, le=256, description="Requests that the model works on at once; fewer if memory is short."
    )
    engine_memory: float = Field(
        0.6, gt=0, le=0.95, description="Share of the memory left beside the model that conversations may fill."
    )
    engine_chunk: float = Field(
        0.15, ge=0, le=10, description="Seconds that a long prompt may hold up those who are being answered, a step."
    )
    engine_compile: bool = Field(
        False,
        description="Compile the step that writes while the model is loaded, which then takes a quarter of a minute "
        "longer, or more; for small models that write. Needs a C++ compiler on a CPU. Used only if right and faster.",
    )
    engine_timeout: float = Field(120.0, gt=0, description="Seconds a generation may take, waiting included.")
    context_tokens: int = Field(4096, ge=512, description="Token budget of a prompt and its answer.")
    embeddings: str = Field(
        "auto",
        description="Sentence embeddings: `auto` (the offline package), a sentence-transformers hub id or a folder.",
    )
    photo_embeddings: str | None = Field(
        None,
        description="Search by how photos look: a CLIP- or SigLIP-class hub id or folder; else photos are searched by what is read in them.",
    )
    reranker: str | None = Field(
        None, description="Cross-encoder that orders the best passages once more: a hub id or a folder; default: none."
    )
    reranker_seconds: float = Field(1.0, gt=0, le=30, description="Time that it has for a search.")
    ocr: Literal["auto", "off"] = Field("auto", description="Read text in photos with rapidocr if it is installed.")
    taxonomy: Path | None = Field(
        None, description="TOML file with categories, teams and products; default is the sample's."
    )
    answer_threshold: float = Field(
        0.35, ge=0, le=1, description="Least support (0 to 1) a passage must give before the assistant answers from it."
    )
    kb_private_addresses: bool = Field(
        False, description="Also import websites that lie in the private network or on this machine."
    )
    kb_pause: float = Field(
        1.0,
        ge=0,
        le=60,
        description="Seconds between two requests to a website that is imported; its own rules may ask for more.",
    )

    photo_max_bytes: int = Field(15_000_000, ge=1_000, description="Largest upload taken, per file.")
    photo_max_pixels: int = Field(50_000_000, ge=10_000, description="Largest photo decoded, in pixels.")
    photo_max_side: int = Field(
        1600, ge=64, description="Photos are scaled down to this many pixels on the longer side."
    )
    photos_per_message: int = Field(6, ge=1, le=50, description="Files taken with one message.")
    message_max_chars: int = Field(20_000, ge=100, description="Longest message text taken.")

    rate_limit: str = Field("120 per minute", description="Requests a minute per API key or visitor.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log detail.")

    @field_validator("model", "embeddings", "photo_embeddings", "reranker")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; leave it out for the default")
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

    def signing_key(self) -> str:
        """The secret for signatures; made once, readable by the owner only, if none is configured."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.data_dir / "secret.key"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: of two processes that start at once, one makes the key and the other reads it.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text().strip()
        with os.fdopen(descriptor, "w") as file:
            key = secrets.token_urlsafe(48)
            file.write(key)
        return key


def config_file() -> Path:
    """The settings file. Raises `ValueError` if one is named that is not there: its settings would be missed unseen."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named and (not Path(named).exists() or Path(named).is_dir()):
        raise ValueError(f"There is no settings file {named}. Check {CONFIG_VARIABLE}.")
    return Path(named or DEFAULT_CONFIG)


def unknown_settings() -> list[str]:
    """What looks like a setting of ours and is none, in the environment and in the settings file: almost always a
    typing error worth a warning."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    variables = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    file = config_file()
    written = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return variables + [f"{name} in {file}" for name in written if name not in Settings.model_fields]


def settings_table() -> str:
    """Every setting with its default, as README.md shows it (Markdown)."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None or default == [] else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)
