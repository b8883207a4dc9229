"""Files for running it elsewhere: container, system service, proxies in front. Filled in from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assistant.settings import Settings
from assistant.web import bodies

# What `assistant deploy` prints, by name.
FILES: Mapping[str, str] = MappingProxyType(
    {
        "dockerfile": "Dockerfile",
        "compose": "compose.yaml",
        "compose-apart": "compose-apart.yaml",
        "systemd": "assistant.service",
        "nginx": "nginx.conf",
        "caddy": "Caddyfile",
        "alerts": "alerts.yml",
    }
)
_EXAMPLE = "https://support.example.org"


def render(name: str, settings: Settings, templates: Path) -> str:
    """One of `FILES`. ``templates``: the folder of the product's templates."""
    public_url = (settings.public_url or _EXAMPLE).rstrip("/")
    parts = urlsplit(public_url)
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    environment = Environment(  # noqa: S701 - no HTML
        loader=FileSystemLoader(templates / "deploy"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(FILES[name]).render(
        company=" ".join(settings.company.replace('"', "").replace("\\", "").split()),
        public_url=public_url,
        host=parts.hostname,
        path=parts.path,
        address=f"{address}:{settings.port}",
        megabytes=ceil(bodies.limits(settings)[1] / 1e6),
    )
