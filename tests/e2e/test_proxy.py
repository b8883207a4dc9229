"""Behind a real nginx with the configuration that `assistant deploy nginx` prints: TLS, a path, streams and uploads,
visitors one by one, no spoofing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, expect

from assistant.app import templates_dir
from assistant.deployment import render
from assistant.lab.real_server import Server
from assistant.runtime import build, open_database
from assistant.settings import Settings
from tests.e2e.conftest import Site
from tests.factories import PASSWORD, make_agent, make_ticket
from tests.fakes import fake_capabilities

STARTS_WITHIN = 60.0
PUBLIC = "https://shop.example/support"
START = "/support/widget/v1/sessions"


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not shutil.which("nginx") or not shutil.which("openssl"):
        pytest.skip("needs nginx and openssl: apt install nginx openssl")
    folder = tmp_path_factory.mktemp("proxied") / "var"
    database = open_database(Settings(data_dir=folder))
    make_agent(database, "dora", admin=True)
    database.close()
    public = {"public_url": PUBLIC, "trusted_proxies": '["127.0.0.1"]'}
    public["widget_origins"] = site.url
    server = Server(folder, at_once=True, ocr="off", model="none", workers=0, **public)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of the nginx in front of it, and its certificate."""
    folder = tmp_path_factory.mktemp("nginx")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names], check=True, capture_output=True, timeout=60)
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, plain = probe.getsockname()[1], other.getsockname()[1]
    shown = render("nginx", Settings(port=urlsplit(server.url).port, public_url=PUBLIC), templates_dir())
    for name, value in [
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("listen 80", f"listen 127.0.0.1:{plain}"),
        ("/etc/ssl/shop.example.pem", str(certificate)),
        ("/etc/ssl/shop.example.key", str(key)),
    ]:
        assert name in shown
        shown = shown.replace(name, value)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root; " if os.geteuid() == 0 else ""  # who may write to the test's folder
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}{shown}}}\n"
    )
    with (folder / "log").open("wb") as log:
        command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    ends_at = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < ends_at, (folder / "log").read_text()
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
    yield port, certificate
    process.terminate()
    process.wait(60)


@pytest.fixture
def visitor(proxy: tuple[int, Path]) -> Iterator[Callable[[str], httpx.Client]]:
    """``visitor("127.3.0.1")``: a client at that address who comes through nginx."""
    port, certificate = proxy
    made: list[httpx.Client] = []

    def make(address: str) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=certificate)
        transport = httpx.HTTPTransport(verify=trusted, local_address=address)
        made.append(httpx.Client(base_url=f"https://127.0.0.1:{port}", transport=transport, timeout=60))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_an_agent_works_under_tls_and_a_path(visitor: Callable[[str], httpx.Client]) -> None:
    agent = visitor("127.3.0.1")
    asked = agent.get("/support/console/?tab=mine")
    assert asked.headers["location"].startswith("/support/console/sign-in?next=")
    page = agent.get(asked.headers["location"])
    assert page.headers["strict-transport-security"]
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert token is not None
    form = {"email": "dora@example.org", "password": PASSWORD, "csrf_token": token[1]}
    headers = {"Referer": str(page.url)}  # as browsers send it, which the CSRF check asks for under TLS
    entered = agent.post(asked.headers["location"], data=form, headers=headers)
    assert entered.headers["location"] == "/support/console/?tab=mine"
    cookie = entered.headers["set-cookie"]
    assert "__Secure-session=" in cookie
    assert "Path=/support;" in f"{cookie};"
    assert "; Secure" in cookie
    page = agent.get(entered.headers["location"])
    assert page.status_code == 200
    addresses = re.findall(r'(?:href|src|action|hx-get|hx-post|sse-connect)="(/[^"]*)"', page.text)
    assert addresses
    assert [address for address in addresses if not address.startswith("/support/")] == []
    for address in addresses:
        if "/static/" in address:
            assert agent.get(address).status_code == 200


def test_what_was_typed_is_there_after_going_back_although_no_cache_keeps_the_page(
    browser: Browser, proxy: tuple[int, Path], server: Server
) -> None:
    runtime = build(Settings(data_dir=server.folder), capabilities=fake_capabilities())
    ticket = make_ticket(runtime.desk)
    runtime.close()
    page = browser.new_context(ignore_https_errors=True).new_page()
    page.on("dialog", lambda asks: asks.accept())  # whether to leave
    page.goto(f"https://127.0.0.1:{proxy[0]}/support/console/tickets/{ticket.public_id}")
    page.get_by_label("E-mail address").fill("dora@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#reply-text").fill("It is on its way")
    page.get_by_role("link", name="Tickets", exact=True).first.click()
    expect(page.locator("#rows")).to_be_visible()
    page.go_back()
    expect(page.locator("#reply-text")).to_have_value("It is on its way")


def test_a_customer_writes_and_listens(visitor: Callable[[str], httpx.Client]) -> None:
    customer = visitor("127.3.0.2")
    assert customer.get("/support/widget/loader.js").status_code == 200
    frame = customer.get("/support/widget/").text
    assert "/support/widget/v1/" in frame
    for address in re.findall(r'(?:href|src)="(/[^"]*)"', frame):
        assert address.startswith("/support/")
        assert customer.get(address).status_code == 200
    headers = {"Authorization": f"Bearer {customer.post(START).json()['token']}"}
    sent = customer.post("/support/widget/v1/conversations", files={"text": (None, "It leaks")}, headers=headers)
    assert sent.status_code == 201
    path = f"/support/widget/v1/conversations/{sent.json()['conversation']['id']}/events?last_event_id=0"
    with customer.stream("GET", path, headers=headers) as events:
        assert "It leaks" in next(line for line in events.iter_lines() if line.startswith("data:"))


def test_a_stream_arrives_as_it_is_written(visitor: Callable[[str], httpx.Client]) -> None:
    customer = visitor("127.3.0.9")
    headers = {"Authorization": f"Bearer {customer.post(START).json()['token']}"}
    conversations = "/support/widget/v1/conversations"
    sent = customer.post(conversations, files={"text": (None, "First")}, headers=headers).json()
    path = f"{conversations}/{sent['conversation']['id']}"
    with customer.stream("GET", f"{path}/events?last_event_id=0", headers=headers) as events:
        lines = events.iter_lines()
        assert "First" in next(line for line in lines if line.startswith("data:"))
        written = time.monotonic()
        visitor("127.3.0.9").post(f"{path}/messages", files={"text": (None, "Second")}, headers=headers)
        assert "Second" in next(line for line in lines if line.startswith("data:") and "Second" in line)
        assert time.monotonic() - written < 10, "the next ping comes after that"


def test_as_many_bytes_as_the_settings_allow_pass_and_more_are_refused_by_the_product(
    visitor: Callable[[str], httpx.Client],
) -> None:
    limits = Settings()
    customer = visitor("127.3.0.10")
    headers = {"Authorization": f"Bearer {customer.post(START).json()['token']}"}
    file = b"x" * limits.photo_max_bytes
    full = [("photos", (f"{number}.txt", file, "text/plain")) for number in range(limits.photos_per_message)]
    form = [("text", (None, "The logs")), *full]
    sent = customer.post("/support/widget/v1/conversations", files=form, headers=headers)
    assert sent.status_code == 201
    assert len(sent.json()["message"]["attachments"]) == limits.photos_per_message
    over = customer.post("/support/widget/v1/conversations", files=[*form, *full], headers=headers)
    assert over.status_code == 413


@pytest.mark.e2e
def test_a_customer_on_another_site_writes_in_a_browser(site: Site, proxy: tuple[int, Path], browser: Browser) -> None:
    address = f"https://127.0.0.1:{proxy[0]}/support/widget/loader.js"
    site.add("/", "<button data-support-open='It leaks'>Help</button>", head=f'<script src="{address}" async></script>')
    context = browser.new_context(locale="en-GB", ignore_https_errors=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(site.url)
    with page.expect_event("framenavigated", lambda frame: "/support/widget/" in frame.url) as opened:
        page.get_by_role("button", name="Help").click()
    chat = opened.value
    expect(chat.locator("#text")).to_have_value("It leaks")
    chat.locator("#send").click()
    expect(chat.locator("#log .entry.customer")).to_contain_text("Sent")
    assert complaints == []
    context.close()


def test_the_documentation_names_the_path(visitor: Callable[[str], httpx.Client]) -> None:
    integrator = visitor("127.3.0.3")
    assert integrator.get("/support/api/v1/openapi.json").json()["servers"] == [{"url": "/support"}]
    assert 'href="/support/static/' in integrator.get("/support/api/v1/docs").text


INVENTED = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "unknown"},
    {"X-Forwarded-For": '"', "Forwarded": "for=203.0.113.9"},
    {"X_Forwarded_For": "203.0.113.9"},
    {"Forwarded": "for=203.0.113.9;host=evil.example;proto=http"},
    {"Forwarded": 'for="[2001:db8::9]:99"'},
    {"X-Real-IP": "203.0.113.9"},
    {"Client-IP": "203.0.113.9", "True-Client-IP": "203.0.113.9", "CF-Connecting-IP": "203.0.113.9"},
]


def test_visitors_are_limited_one_by_one_and_cannot_be_somebody_else(visitor: Callable[[str], httpx.Client]) -> None:
    greedy, other = visitor("127.3.0.4"), visitor("127.3.0.5")
    assert [greedy.post(START).status_code for _ in range(11)] == [201] * 10 + [429]
    for headers in INVENTED:
        assert greedy.post(START, headers=headers).status_code == 429, headers
    assert other.post(START).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Proto": "http"},
        {"Forwarded": "for=127.0.0.1;host=evil.example;proto=http"},
        {"X-Script-Name": "/evil", "Script-Name": "/evil", "X-Forwarded-Server": "evil.example"},
    ],
)
def test_where_links_lead_is_not_for_clients_to_say(
    visitor: Callable[[str], httpx.Client], headers: dict[str, str]
) -> None:
    answer = visitor("127.3.0.6").get("/support/console/", headers=headers)
    assert answer.headers["location"].startswith("/support/console/sign-in")
    assert "strict-transport-security" in answer.headers
    assert "evil" not in str(answer.headers)


def test_metrics_are_not_open_to_those_behind_the_proxy(visitor: Callable[[str], httpx.Client], server: Server) -> None:
    assert visitor("127.3.0.7").get("/support/metrics").status_code == 401
    assert httpx.get(f"{server.url}/metrics").status_code == 401  # nor to a proxy that adds nothing


def test_the_proxy_uses_its_connection_again(visitor: Callable[[str], httpx.Client], server: Server) -> None:
    def connections() -> set[int]:
        port = urlsplit(server.url).port
        found = psutil.net_connections("tcp")
        return {one.laddr.port for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"}

    client = visitor("127.3.0.8")
    client.get("/support/livez")
    before = connections()
    for path in ("/support/livez", "/support/api/v1/tickets", "/support/nowhere"):
        time.sleep(3)  # longer than the two seconds after which idle connections used to end
        client.get(path)
    assert before
    assert connections() == before
