"""What other people's pages load from us: where it may be framed, how long it is kept, and how much it weighs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from assistant.cli import main
from assistant.desk import inboxes
from assistant.desk.desk import Desk
from assistant.runtime import Runtime
from assistant.web import embedding
from assistant.web.assets import FOLDER, Assets, assets
from assistant.wording import LANGUAGES, catalogue

GZIP = {"Accept-Encoding": "gzip, br"}
KILOBYTE = 1024
ADDRESS = re.compile(r'(?:src|href)="(/static/[^"]+)"')


def weigh(client: FlaskClient, address: str) -> int:
    """Bytes on the wire of the body."""
    answer = client.get(address, headers=GZIP)
    assert answer.status_code == 200, address
    assert answer.headers["Content-Encoding"] == "gzip", address
    return len(answer.data)


def test_the_loader_weighs_at_most_5_kilobytes_and_everything_60(client: FlaskClient) -> None:
    loader, shell = weigh(client, "/widget/loader.js"), weigh(client, "/widget/shell.js")
    assert loader <= 5 * KILOBYTE
    [page, *linked] = ["/widget/", *dict.fromkeys(ADDRESS.findall(client.get("/widget/").get_data(as_text=True)))]
    assert sum(address.endswith(".js") for address in linked) == 1  # on a slow line each request costs
    frame = weigh(client, page) + sum(weigh(client, address) for address in linked)
    assert loader + shell + frame <= 60 * KILOBYTE


def test_files_are_kept_for_a_year_under_an_address_that_names_their_content(client: FlaskClient) -> None:
    [style] = re.findall(r'href="(/static/\w{16}/widget/widget\.css)"', client.get("/widget/").get_data(as_text=True))
    answer = client.get(style, headers=GZIP)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(answer.data) == client.get(style).data
    again = client.get(style, headers={**GZIP, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    # A page from before an upgrade: it gets what there is, and nothing keeps that.
    old = client.get(re.sub(r"/\w{16}/", f"/{'0' * 16}/", style))
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
    assert client.get(style.replace("widget.css", "..%2f..%2fauth.py")).status_code == 404


def test_every_language_can_say_that_nobody_can_be_reached(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any]
) -> None:
    client = make_app(make_runtime(contact="help@shop.example")).test_client()
    shell = client.get("/widget/shell.js").get_data(as_text=True)
    assert '"contact":"help@shop.example"' in shell
    for language in LANGUAGES:
        for code in ("unreachable", "try_again", "close", "chat"):
            assert f'"{catalogue(language)[code]}"' in shell
    assert "// " not in re.sub(r'"[^"]*"|`[^`]*`', "", shell)  # comments stay here


def test_an_inbox_has_its_own_name_colour_and_contact(client: FlaskClient, desk: Desk) -> None:
    with desk.db.begin() as session:
        inbox = inboxes.default(session)
        inbox.name, inbox.settings = "Brewers", {"contact": "https://brew.example/help", "accent": "#aa3300"}
    shell = client.get("/widget/shell.js").get_data(as_text=True)
    assert '"company":"Brewers","contact":"https://brew.example/help","accent":"#aa3300"' in shell
    unknown = client.get("/widget/shell.js?inbox=%22)%0aalert(1)")
    assert re.fullmatch(
        r'console\.error\("SupportAssistant: There is no inbox [^\n]*"\)', unknown.get_data(as_text=True)
    )


def test_loader_and_shell_are_asked_for_again_after_minutes(client: FlaskClient) -> None:
    for address in ("/widget/loader.js", "/widget/shell.js"):
        answer = client.get(address, headers=GZIP)
        assert answer.headers["Cache-Control"] == "max-age=300"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert client.get(address, headers={**GZIP, "If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_pinned_scripts_stay_what_they_are_when_everything_else_changes(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any]
) -> None:
    before, after = make_runtime(company="Lumora"), make_runtime(company="Lumora and Sons")
    with before.desk.db.read() as session:
        pinned = embedding.pin(before.settings, inboxes.default(session))
    client = make_app(after).test_client()
    loader = client.get(f"/widget/{pinned.name}")
    assert loader.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert loader.headers["Access-Control-Allow-Origin"] == "*"
    named = re.search(r'"shell":"(shell\.\w+\.js)","integrity":"(sha384-[^"]+)"', loader.get_data(as_text=True))
    assert named is not None
    for body, integrity in ((loader.data, pinned.integrity), (client.get(f"/widget/{named[1]}").data, named[2])):
        assert integrity == f"sha384-{base64.b64encode(hashlib.sha384(body).digest()).decode()}"
    assert client.get(f"/widget/loader.{'0' * 16}.js").status_code == 404


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("http://localhost", True),  # our own pages
        ("https://shop.example", True),
        ("https://www.brew.example", True),
        ("https://brew.example", False),
        ("https://evilbrew.example", False),
        ("http://www.brew.example", False),
        ("https://shop.example.evil.example", False),
        ("https://shop.example:8443", False),
        ("null", False),
    ],
)
def test_a_page_that_may_not_embed_the_widget_is_told_how_to_change_that(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., Any], origin: str, may: bool
) -> None:
    sites = ["https://shop.example", "https://*.brew.example"]
    client = make_app(make_runtime(widget_origins=sites)).test_client()
    answer = client.get("/widget/", query_string={"origin": origin})
    page = answer.get_data(as_text=True)
    policy = answer.headers["Content-Security-Policy"]
    if may:
        assert answer.status_code == 200
        assert "frame-ancestors 'self' https://shop.example https://*.brew.example" in policy
    else:
        assert answer.status_code == 403
        assert "frame-ancestors *" in policy
        assert "ASSISTANT_WIDGET_ORIGINS" in page
        assert "data-config" not in page


@pytest.mark.slow
def test_scripts_without_their_comments_are_scripts(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js: apt install nodejs")
    names = ("widget/loader.js", "widget/shell.js", "widget/widget.js", "widget/coach.js", "console/console.js")
    for name in names:
        (tmp_path / Path(name).name).write_text(assets().text(name), encoding="utf-8")
    parse = """const { SourceTextModule } = require("vm");
        for (const file of process.argv.slice(1)) new SourceTextModule(require("fs").readFileSync(file, "utf8"));"""
    command = [node, "--experimental-vm-modules", "-e", parse, *tmp_path.iterdir()]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert "/**" not in "".join(map(assets().text, names))


MODULES = {
    "widget/words.js": """export const word = "one";
export async function say() {}
""",
    "widget/twice.js": """import { word as it } from "./words.js";
export class Twice {
  said = it + it;
}
""",
    "console/console.js": """import "../widget/words.js";
import {
  Twice,
} from "../widget/twice.js";
const word = new Twice();
console.log(word.said);
""",
}


def test_a_script_is_one_file_with_those_that_it_imports(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    script = Assets(tmp_path).text("console/console.js")
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    assert script.count('"one"') == 1
    if node := shutil.which("node"):
        command = [node, "--input-type=module", "-e", script]
        assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "oneone\n"
    (tmp_path / "widget/words.js").write_text('import { Twice } from "./twice.js";\n')
    with pytest.raises(ValueError, match="import each other"):
        Assets(tmp_path)


def test_nothing_is_left_to_import_but_what_is_fetched_when_it_is_needed() -> None:
    for name in ("widget/widget.js", "console/console.js"):
        assert not re.search(r"^(import|export)\b", assets().text(name), re.MULTILINE)


def test_the_documentation_and_the_types_name_what_there_is(client: FlaskClient) -> None:
    loader, shell = ((FOLDER / f"widget/{name}.js").read_text(encoding="utf-8") for name in ("loader", "shell"))
    methods = set(re.findall(r'"(\w+)"', re.search(r"METHODS = \[(.*?)\]", loader, re.DOTALL)[1]))
    events = set(re.findall(r'"(\w+)"', re.search(r"EVENTS = \[(.*?)\]", loader, re.DOTALL)[1]))
    given = shell[shell.index("  ready({") :]
    assert set(re.findall(r"^    (\w+)[,:]", given, re.MULTILINE)) == methods

    types = client.get("/widget/widget.d.ts").get_data(as_text=True)
    typed = types[types.index("interface SupportAssistant {") : types.index("declare global")]
    assert set(re.findall(r"^  (\w+)[(<]", typed, re.MULTILINE)) == methods | {"on", "destroy", "push"}
    listed = types[types.index("interface SupportEvents") : types.index("export type SupportCall")]
    assert set(re.findall(r"^  (\w+): ", listed, re.MULTILINE)) == events

    page = client.get("/widget/docs").get_data(as_text=True)
    for method in methods | {"on", "destroy"}:
        assert f"{method}(" in page
    for event in events:
        assert f"<code>{event}</code>" in page
    taken = re.findall(r"const \{ ([^}]*) \} = attributes;", shell)[0].split(", ")
    names = {name.split(" = ")[0] for name in taken} | set(re.findall(r"attributes\.(\w+)", shell))
    for name in names:
        assert f"data-{name}" in page


def test_the_snippet_is_printed_for_an_inbox_and_a_pinned_one_is_served(
    runtime: Runtime, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(runtime.settings.data_dir))
    monkeypatch.setenv("ASSISTANT_PUBLIC_URL", "https://shop.example/support")

    def print_snippet(*options: str) -> str:
        return CliRunner().invoke(main, ["widget", "snippet", *options]).output.strip()

    assert print_snippet() == '<script src="https://shop.example/support/widget/loader.js" async></script>'
    assert 'data-inbox="default" async' in print_snippet("--inbox", "default")
    assert "There is no inbox 'brew'" in print_snippet("--inbox", "brew")
    assert 'addEventListener("load"' in print_snippet("--after-load")
    pinned = re.search(r'/support(/widget/loader\.\w+\.js)" integrity="(sha384-\S+)" cross', print_snippet("--pin"))
    assert pinned is not None
    assert client.get(pinned[1]).status_code == 200
