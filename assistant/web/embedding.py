"""What the pages of sites load from us: the loader, and the shell that it fetches, with their texts filled in.

Both are cached for minutes, so that an upgrade reaches every site soon. A site that insists on scripts it has seen
(subresource integrity) pins a pair by address and hash; pinned pairs are kept in the data folder and served for ever.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, abort, g, render_template, request, url_for

from assistant import wording
from assistant.desk import inboxes
from assistant.errors import NotFound
from assistant.models import Inbox
from assistant.settings import Settings
from assistant.web import auth
from assistant.web.assets import Content, assets, keep_for_ever
from assistant.web.context import desk, runtime

blueprint = Blueprint("embedding", __name__)

# What the shell says, in the order in which it expects it.
_SAID = ("chat", "close", "newest", "unreachable", "try_again", "write_to")
_FRESH = 300  # seconds


@dataclass(frozen=True)
class Pinned:
    """A pair of scripts that never changes: the loader's file name below ``/widget/``, and its hash."""

    name: str
    integrity: str


@blueprint.get("/widget/loader.js")
def get_loader() -> Response:
    return _for_sites(_script(_loader("shell.js")), fresh=_FRESH)


@blueprint.get("/widget/shell.js")
def get_shell() -> Response:
    try:
        with desk().db.read() as session:
            script = _shell(runtime().settings, inboxes.find(session, auth.page_inbox()))
    except NotFound as error:  # nobody but the site's developer can help
        script = f"console.error({json.dumps(f'SupportAssistant: {error.message}')})"
    return _for_sites(_script(script), fresh=_FRESH)


@blueprint.get("/widget/widget.d.ts")
def get_types() -> Response:
    return _for_sites(Content.of(assets().text("widget/widget.d.ts").encode(), "text/plain"), fresh=_FRESH)


@blueprint.get("/widget/docs")
def show_documentation() -> str:
    """For the developers of sites: what to write on a page, and what its scripts may call."""
    with desk().db.read() as session:
        pinned = pin(runtime().settings, inboxes.default(session))
    base = url_for(".get_loader", _external=True).rpartition("/")[0] + "/"
    return render_template(
        "widget/docs.html",
        snippet=snippet(base),
        later=snippet(base, after_load=True),
        pinned=snippet(base, pinned=pinned),
        host=request.host_url.rstrip("/"),
    )


@blueprint.get("/widget/<any(loader, shell):kind>.<string(length=16):digest>.js")
def get_pinned(kind: str, digest: str) -> Response:
    path = _folder(runtime().settings) / f"{kind}.{digest}.js"
    if not re.fullmatch("[0-9a-f]{16}", digest) or not path.is_file():
        abort(404)
    return _for_sites(_script(path.read_text(encoding="utf-8")), fresh=None)


def pin(settings: Settings, inbox: Inbox) -> Pinned:
    """Keep the scripts of today for sites that pin them."""
    shell = _keep(settings, "shell", _shell(settings, inbox))
    return _keep(settings, "loader", _loader(shell.name, shell.integrity))


def snippet(base: str, *, inbox: str | None = None, pinned: Pinned | None = None, after_load: bool = False) -> str:
    """What a site's pages say. ``base``: our address, up to ``/widget/``."""
    attributes = {"src": f"{base}{pinned.name if pinned else 'loader.js'}"}
    if inbox:
        attributes["data-inbox"] = inbox
    if pinned:
        attributes |= {"integrity": pinned.integrity, "crossorigin": "anonymous"}
    if not after_load:
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
        return f"<script{written} async></script>"
    lines = [f"script.setAttribute({json.dumps(name)}, {json.dumps(value)});" for name, value in attributes.items()]
    inner = ['const script = document.createElement("script");', *lines, "document.head.append(script);"]
    indented = "\n".join(f"    {line}" for line in inner)
    return f'<script>\n  addEventListener("load", () => {{\n{indented}\n  }});\n</script>'


def may_embed(origin: str, origins: Iterable[str]) -> bool:
    """Whether a page of this origin may: ours, or one of a configured site. Browsers check the same once more."""
    if origin == f"{request.scheme}://{request.host}" or request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True
    return any(_matches(origin, pattern) for pattern in origins)


def refuse(origin: str, advice: str) -> tuple[Response, int]:
    """Instead of the widget, a page that tells the site's developer what to do. Every site may frame it: it shows
    nothing."""
    g.frame_ancestors = "*"
    detail = f"{origin} may not embed the widget. {advice}"
    return Response(render_template("widget/refused.html", detail=detail)), 403


def _matches(origin: str, pattern: str) -> bool:
    """``https://*.shop.example`` stands for every subdomain."""
    scheme, is_wild, host = pattern.partition("*.")
    return origin.startswith(scheme) and origin.endswith(f".{host}") if is_wild else origin == pattern


def _loader(shell: str, integrity: str | None = None) -> str:
    return _filled_in("widget/loader.js", {"shell": shell, "integrity": integrity})


def _shell(settings: Settings, inbox: Inbox) -> str:
    texts = {language: [wording.catalogue(language)[code] for code in _SAID] for language in wording.LANGUAGES}
    rtl = [language for language in wording.LANGUAGES if wording.direction(language) == "rtl"]
    own = inboxes.settings_of(inbox)
    given = {
        "texts": texts,
        "rtl": rtl,
        "company": inboxes.brand(inbox, settings),
        "contact": own.contact or settings.contact,
        "accent": own.accent,
        "language": own.language,
    }
    return _filled_in("widget/shell.js", given)


def _filled_in(filename: str, given: Mapping[str, object]) -> str:
    """The script with what it is given."""
    head, _, tail = assets().text(filename).rpartition("GIVEN")
    return head + json.dumps(given, ensure_ascii=False, separators=(",", ":")) + tail


@lru_cache(maxsize=64)
def _script(text: str) -> Content:
    return Content.of(text.encode(), "text/javascript")


def _for_sites(content: Content, *, fresh: int | None) -> Response:
    """For pages of any origin; ``fresh`` seconds, or for ever."""
    response = content.respond()
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"  # asked for where a page checks the hash
    if fresh is None:
        keep_for_ever(response)
    else:
        response.cache_control.max_age = fresh
    return response


def _keep(settings: Settings, kind: str, text: str) -> Pinned:
    body = text.encode()
    name = f"{kind}.{hashlib.sha256(body).hexdigest()[:16]}.js"
    path = _folder(settings) / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(body)
        Path(file.name).replace(path)  # complete or absent
    return Pinned(name, f"sha384-{base64.b64encode(hashlib.sha384(body).digest()).decode()}")


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "widget"
