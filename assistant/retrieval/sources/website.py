"""A website by its sitemap: its pages as articles, fetched politely and only from the host that the operator named.

``robots.txt`` is obeyed; requests are spaced (by its crawl-delay, if longer); unchanged pages are not read again
(conditional requests); redirects are followed only within the host. Numbers and sizes are bounded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urldefrag, urljoin, urlsplit

from protego import Protego

from assistant.errors import AssistantError, Invalid, NotFound, NotReady
from assistant.outbound import Fetch, Reply, Request, unpack_gzip
from assistant.retrieval.sources.article import ArticleSource, Found, Listing, Picture, make_article
from assistant.retrieval.sources.images import MOST_BYTES, NamedPicture, in_data
from assistant.retrieval.sources.page import read_html
from assistant.retrieval.sources.text import declared_charset, decode, known_charset

USER_AGENT = "photo-support-assistant"
PAUSE = 1.0  # seconds between requests
_LONGEST_PAUSE = 30.0
MOST_PAGES = 5_000
_MOST_SITEMAPS = 200
_SITEMAP_BYTES = 50_000_000  # as sitemaps.org limits them
_PAGE_BYTES = 5_000_000
_MOST_REDIRECTS = 5
_MOST_PICTURES = 20  # of one page
_REDIRECTS = {301, 302, 303, 307, 308}
_GONE = {404, 410}
_ETAG, _MODIFIED = "etag", "last-modified"


@dataclass
class _Site:
    """One visit: what may be fetched, and when the last request was."""

    host: str
    fetch: Fetch
    pause: float
    sleep: Callable[[float], None]
    robots: Protego = field(default_factory=lambda: Protego.parse(""))
    asked_at: float = 0.0

    def ask(self, url: str, *, headers: Mapping[str, str] | None = None, limit: int = _PAGE_BYTES) -> tuple[str, Reply]:
        """The reply's address and the reply. Raises an `AssistantError` with the reason if there is none."""
        for _ in range(_MOST_REDIRECTS):
            if not self.is_ours(url):
                raise Invalid("leads to another site")
            if not self.robots.can_fetch(url, USER_AGENT):
                raise Invalid("is disallowed by the site's robots.txt")
            reply = self._wait_and_fetch(Request(url, headers or {}, limit))
            if reply.status not in _REDIRECTS:
                return url, reply
            url = urldefrag(urljoin(url, reply.headers.get("location", ""))).url
        raise Invalid("redirects too many times")

    def is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == self.host

    def obey(self, robots: str) -> None:
        self.robots = Protego.parse(robots)
        delay = self.robots.crawl_delay(USER_AGENT)
        if delay is not None:
            self.pause = min(max(self.pause, float(delay)), _LONGEST_PAUSE)

    def _wait_and_fetch(self, request: Request) -> Reply:
        wait = self.asked_at + self.pause - time.monotonic()
        if wait > 0:
            self.sleep(wait)
        try:
            return self.fetch(request)
        finally:
            self.asked_at = time.monotonic()


def list_website(
    address: str,
    *,
    fetch: Fetch,
    known: Mapping[str, Mapping[str, str]] | None = None,
    done: frozenset[str] = frozenset(),
    pause: float = PAUSE,
    sleep: Callable[[float], None] = time.sleep,
) -> Listing:
    """The pages in the sitemap at ``address``. If that is a site, the sitemap is the one named in its robots.txt, else
    ``/sitemap.xml``. ``known``: address to validators (see `ArticleSource`) of stored pages. ``done``: pages that have
    already been read in this visit and are not fetched again.

    Raises an `AssistantError` if no sitemap can be read."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("is not a website's address: it must begin with https:// or http://")
    site = _Site(parts.netloc.lower(), fetch, pause, sleep)
    sitemaps = _read_robots(site, f"{parts.scheme}://{parts.netloc}/robots.txt")
    if parts.path not in ("", "/"):
        sitemaps = [address]
    elif not sitemaps:
        sitemaps = [f"{parts.scheme}://{parts.netloc}/sitemap.xml"]
    listing = Listing()
    for url in _pages(site, sitemaps, listing):
        read = partial(_read_page, site, url, (known or {}).get(url, {}))
        listing.found.append(Found(url, None, (lambda: None) if url in done else read))
    if not listing.found:
        reasons = "; ".join(f"{place} {why}" for place, why in listing.failed[:3]) or "it lists no page of this site"
        raise NotReady(f"The sitemap of {site.host} has nothing to read: {reasons}.")
    return listing


def _read_robots(site: _Site, url: str) -> list[str]:
    """Load the site's rules and return the sitemaps it names. Raises `NotReady` if they cannot be read: then the site
    must not be visited."""
    try:
        _, reply = site.ask(url, limit=500_000)
    except AssistantError as error:
        raise NotReady(f"{site.host} {error.message}.") from error
    if reply.status in _GONE or (400 <= reply.status < 500 and reply.status not in (401, 403, 429)):
        return []
    if reply.status != 200:
        raise NotReady(f"The site's robots.txt cannot be read now (HTTP {reply.status}), so nothing was fetched.")
    site.obey(reply.body.decode("utf-8", errors="replace"))
    return [url for url in site.robots.sitemaps if site.is_ours(url)]


def _pages(site: _Site, sitemaps: list[str], listing: Listing) -> Iterator[str]:
    """Addresses of pages in the sitemaps' order, each once. A sitemap that cannot be read makes every page doubtful."""
    waiting, seen_maps, seen = list(sitemaps), set(sitemaps), set[str]()
    while waiting:
        sitemap = waiting.pop(0)
        try:
            inner, pages = _read_sitemap(site, sitemap)
        except AssistantError as error:
            listing.fail(sitemap, error.message, doubtful="")
            continue
        for url in inner:
            if url not in seen_maps and site.is_ours(url) and len(seen_maps) < _MOST_SITEMAPS:
                seen_maps.add(url)
                waiting.append(url)
        for url in pages:
            if url in seen or not site.is_ours(url):
                continue
            if len(seen) >= MOST_PAGES:
                listing.fail(sitemap, f"lists more than {MOST_PAGES:,} pages; the rest was left out", doubtful="")
                return
            seen.add(url)
            yield url


def _read_sitemap(site: _Site, url: str) -> tuple[list[str], list[str]]:
    """Addresses of other sitemaps and of pages."""
    import lxml.etree

    _, reply = site.ask(url, limit=_SITEMAP_BYTES)
    if reply.status != 200:
        raise NotReady(f"cannot be fetched (HTTP {reply.status})")
    data = reply.body
    if data.startswith(b"\x1f\x8b"):
        data = unpack_gzip(data, limit=_SITEMAP_BYTES)
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, recover=True)
    try:
        root = lxml.etree.fromstring(data, parser)
    except (lxml.etree.XMLSyntaxError, ValueError) as error:
        raise Invalid("is not a sitemap") from error
    if root is None or lxml.etree.QName(root).localname not in ("urlset", "sitemapindex"):
        raise Invalid("is not a sitemap")
    places: dict[str, list[str]] = {"sitemap": [], "url": []}
    for entry in root.iterchildren("{*}sitemap", "{*}url"):
        location = entry.findtext("{*}loc")
        if location and location.strip():
            found = urldefrag(urljoin(url, location.strip())).url
            places[lxml.etree.QName(entry).localname].append(found)
    return places["sitemap"], places["url"]


def _read_page(site: _Site, url: str, validators: Mapping[str, str]) -> ArticleSource | None:
    headers = {}
    if _ETAG in validators:
        headers["If-None-Match"] = validators[_ETAG]
    if _MODIFIED in validators:
        headers["If-Modified-Since"] = validators[_MODIFIED]
    place, reply = site.ask(url, headers=headers)
    if reply.status == 304:
        return None
    if reply.status in _GONE:
        raise NotFound("no longer exists")
    if reply.status != 200:
        raise NotReady(f"cannot be fetched (HTTP {reply.status})")
    kind, _, parameters = reply.headers.get("content-type", "text/html").partition(";")
    if kind.strip().lower() not in ("text/html", "application/xhtml+xml"):
        raise Invalid(f"is not a web page but {kind.strip()[:60]}")
    charset = parameters.rpartition("charset=")[2].strip("\"' ") if "charset=" in parameters else ""
    text = decode(reply.body, charset=known_charset(charset) or declared_charset(reply.body))
    reading = read_html(text, _Pictures(site, place).find, url=place)
    if not reading.has_text:
        raise Invalid("has no text")
    article = make_article(url, {"url": url}, reading.title or url, reading)
    given = tuple((name, reply.headers[name][:500]) for name in (_ETAG, _MODIFIED) if name in reply.headers)
    return replace(article, validators=given)


class _Pictures:
    """The pictures of one page that are on the same host, fetched when they are read."""

    def __init__(self, site: _Site, page: str) -> None:
        self._site = site
        self._page = page
        self._count = 0

    def find(self, named: NamedPicture) -> Picture | None:
        if named.reference.startswith("data:"):
            return in_data(named)
        url = urldefrag(urljoin(self._page, named.reference)).url
        if not self._site.is_ours(url) or self._count >= _MOST_PICTURES or urlsplit(url).path.endswith(".svg"):
            return None
        self._count += 1
        digest = hashlib.sha256(url.encode()).hexdigest()
        return Picture(digest, 0, named.alt, named.caption, read=partial(self._fetch, url))

    def _fetch(self, url: str) -> bytes:
        _, reply = self._site.ask(url, limit=MOST_BYTES)
        if reply.status != 200:
            raise NotReady(f"the picture cannot be fetched (HTTP {reply.status})")
        return reply.body
