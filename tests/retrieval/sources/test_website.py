"""A website by its sitemap: which pages, in which order, how politely, and what a visit may cost."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import pytest

from assistant.errors import AssistantError, NotReady
from assistant.outbound import Reply, Request
from assistant.retrieval.sources.article import ArticleSource, Listing
from assistant.retrieval.sources.website import list_website

SITE = "https://help.example.org"


class FakeSite:
    """Pages by path: a body, a status, or a whole `Reply`. ``asked``: every request, in order."""

    def __init__(self, pages: Mapping[str, str | bytes | int | Reply], *, robots: str | int = 404) -> None:
        self._pages = {"/robots.txt": robots, **pages}
        self.asked: list[Request] = []
        self.slept: list[float] = []

    def fetch(self, request: Request) -> Reply:
        self.asked.append(request)
        found = self._pages.get(request.url.removeprefix(SITE), 404)
        if isinstance(found, Reply):
            return found
        if isinstance(found, int):
            return Reply(found, {}, b"")
        return Reply(
            200, {"content-type": "text/html; charset=utf-8"}, found if isinstance(found, bytes) else found.encode()
        )

    def list(self, address: str = f"{SITE}/sitemap.xml", **given: object) -> Listing:
        return list_website(address, fetch=self.fetch, sleep=self.slept.append, **given)  # type: ignore[arg-type]

    @property
    def paths(self) -> list[str]:
        return [request.url.removeprefix(SITE) for request in self.asked]


def _sitemap(*paths: str, kind: str = "urlset") -> str:
    entry = "url" if kind == "urlset" else "sitemap"
    places = "".join(f"<{entry}><loc>{p if '//' in p else SITE + p}</loc></{entry}>" for p in paths)
    return f'<?xml version="1.0"?><{kind} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{places}</{kind}>'


def _page(title: str, body: str = "Text.") -> str:
    return f'<html lang="de-AT"><title>{title}</title><main><h1>{title}</h1><p>{body}</p></main></html>'


def _read(listing: Listing) -> list[ArticleSource]:
    return [article for found in listing.found if (article := found.read()) is not None]


def test_the_pages_of_the_sitemap_are_articles() -> None:
    site = FakeSite({"/sitemap.xml": _sitemap("/a", "/b", "/a"), "/a": _page("A"), "/b": _page("B")})
    first, second = _read(site.list())
    assert (first.key, first.url, first.title, first.language) == (f"{SITE}/a", f"{SITE}/a", "A", "de")
    assert second.title == "B"


def test_pages_are_fetched_only_when_they_are_read() -> None:
    site = FakeSite({"/sitemap.xml": _sitemap("/a", "/b")})
    assert len(site.list().found) == 2
    assert site.paths == ["/robots.txt", "/sitemap.xml"]


def test_sitemaps_of_sitemaps_and_packed_ones_are_followed() -> None:
    packed = Reply(200, {}, gzip.compress(_sitemap("/a").encode()))
    pages = {"/sitemap.xml": _sitemap("/one.xml.gz", "/sitemap.xml", kind="sitemapindex"), "/one.xml.gz": packed}
    assert [found.key for found in FakeSite(pages).list().found] == [f"{SITE}/a"]


def test_of_a_site_the_sitemap_is_found_by_its_robots_file() -> None:
    site = FakeSite({"/map.xml": _sitemap("/a")}, robots=f"Sitemap: {SITE}/map.xml")
    assert [found.key for found in site.list(SITE).found] == [f"{SITE}/a"]
    usual = FakeSite({"/sitemap.xml": _sitemap("/b")})
    assert [found.key for found in usual.list(f"{SITE}/").found] == [f"{SITE}/b"]


def test_only_pages_of_the_named_site_are_read() -> None:
    others = (
        "https://evil.example.net/x",
        "http://127.0.0.1/x",
        "https://help.example.org.evil.net/x",
        "ftp://x.org/a",
    )
    site = FakeSite({"/sitemap.xml": _sitemap("/a", *others)})
    assert [found.key for found in site.list().found] == [f"{SITE}/a"]


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "https://evil.example.net/", "/private/x"])
def test_a_redirect_is_checked_like_any_address(target: str) -> None:
    away = Reply(302, {"location": target}, b"")
    site = FakeSite({"/sitemap.xml": _sitemap("/a"), "/a": away}, robots="User-agent: *\nDisallow: /private/")
    [found] = site.list().found
    with pytest.raises(AssistantError, match=r"another site|robots"):
        found.read()
    assert site.paths == ["/robots.txt", "/sitemap.xml", "/a"]


def test_a_redirect_within_the_site_is_followed_but_not_without_end() -> None:
    pages = {"/sitemap.xml": _sitemap("/a", "/loop"), "/a": Reply(301, {"location": "/b"}, b""), "/b": _page("B")}
    site = FakeSite({**pages, "/loop": Reply(301, {"location": "/loop"}, b"")})
    first, loop = site.list().found
    article = first.read()
    assert article is not None
    assert article.title == "B"
    with pytest.raises(AssistantError, match="too many times"):
        loop.read()


def test_wildcards_and_the_longest_match_of_the_robots_file_are_obeyed() -> None:
    robots = "User-agent: *\nDisallow: /*/print\nDisallow: /docs\nAllow: /docs/public"
    pages = {path: _page("A") for path in ("/a/print", "/docs/x", "/docs/public/x")}
    listing = FakeSite({"/sitemap.xml": _sitemap(*pages), **pages}, robots=robots).list()
    for found in listing.found[:2]:
        with pytest.raises(AssistantError, match="disallowed by the site's robots"):
            found.read()
    assert listing.found[2].read() is not None


def test_the_robots_file_is_obeyed() -> None:
    robots = "User-agent: *\nDisallow: /secret\nCrawl-delay: 7"
    site = FakeSite({"/sitemap.xml": _sitemap("/secret", "/a"), "/a": _page("A")}, robots=robots)
    secret, allowed = site.list().found
    with pytest.raises(AssistantError, match="robots"):
        secret.read()
    assert allowed.read() is not None
    assert f"{SITE}/secret" not in site.paths
    assert max(site.slept) == pytest.approx(7, abs=0.5)


def test_a_site_whose_rules_cannot_be_had_is_not_visited() -> None:
    for status in (500, 503, 403, 429):
        with pytest.raises(NotReady, match="robots"):
            FakeSite({"/sitemap.xml": _sitemap("/a")}, robots=status).list()


def test_there_is_a_pause_between_requests() -> None:
    site = FakeSite({"/sitemap.xml": _sitemap("/a", "/b"), "/a": _page("A"), "/b": _page("B")})
    _read(site.list())
    assert len(site.slept) == 3
    assert min(site.slept) > 0.9


def test_a_page_that_has_not_changed_is_not_read_again() -> None:
    page = Reply(200, {"content-type": "text/html", "etag": '"7"', "last-modified": "Tue"}, _page("A").encode())
    [article] = _read(FakeSite({"/sitemap.xml": _sitemap("/a"), "/a": page}).list())
    assert dict(article.validators) == {"etag": '"7"', "last-modified": "Tue"}
    again = FakeSite({"/sitemap.xml": _sitemap("/a"), "/a": Reply(304, {}, b"")})
    assert _read(again.list(known={f"{SITE}/a": dict(article.validators)})) == []
    assert dict(again.asked[-1].headers) == {"If-None-Match": '"7"', "If-Modified-Since": "Tue"}


def test_pages_that_were_just_read_are_found_and_not_asked_for() -> None:
    site = FakeSite({"/sitemap.xml": _sitemap("/a", "/b"), "/b": _page("B")})
    assert [article.title for article in _read(site.list(done=frozenset({f"{SITE}/a"})))] == ["B"]
    assert f"{SITE}/a" not in site.paths


def test_a_sitemap_that_cannot_be_read_makes_it_doubtful_what_has_left() -> None:
    site = FakeSite({"/sitemap.xml": _sitemap("/one.xml", "/two.xml", kind="sitemapindex"), "/one.xml": _sitemap("/a")})
    listing = site.list()
    assert listing.failed == [(f"{SITE}/two.xml", "cannot be fetched (HTTP 404)")]
    assert "" in listing.doubtful


@pytest.mark.parametrize("body", ["", "<html>no map</html>", "not xml at all", _sitemap("https://other.example/x")])
def test_a_site_without_pages_is_an_error(body: str) -> None:
    with pytest.raises(NotReady, match="nothing to read"):
        FakeSite({"/sitemap.xml": body}).list()


def test_entities_of_a_sitemap_are_not_resolved() -> None:
    bomb = f'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>{SITE}/&a;</loc></url><url><loc>{SITE}/b</loc></url></urlset>'
    assert f"{SITE}/b" in [found.key for found in FakeSite({"/sitemap.xml": bomb}).list().found]


def test_pictures_of_a_page_are_fetched_from_its_site_alone() -> None:
    others = '<img src="https://other.example/x.png"><img src="/drawing.svg">'
    html = f'<main><p>Look:</p><img src="/i.png" alt="Inside">{others}</main>'
    site = FakeSite({"/sitemap.xml": _sitemap("/a"), "/a": html, "/i.png": b"pixels"})
    [article] = _read(site.list())
    [picture] = article.sections[0].pictures
    assert (picture.alt, picture.read()) == ("Inside", b"pixels")
