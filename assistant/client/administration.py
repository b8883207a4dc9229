"""What programs that set an installation up may ask for: categories, what triage has learned, keys, articles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NotRequired, TypedDict, Unpack, cast

from assistant.client import shapes
from assistant.client.calls import Calls


class NewCategory(TypedDict):
    """A category needs a description or examples."""

    key: str
    name: str
    description: NotRequired[str]
    examples: NotRequired[Sequence[str]]
    team: NotRequired[str | None]


class KeyLimits(TypedDict, total=False):
    """What is left out stays as it is; of a new key, as of the one that asks. ``expires_on``: a day like 2027-01-31,
    the last one. No inboxes: every one; no networks: from anywhere."""

    expires_on: str | None
    inboxes: Sequence[str]
    networks: Sequence[str]


class ArticleFields(TypedDict, total=False):
    """``text``: Markdown. Of what is left out, a new article has none; another version has it as it was. None is none.
    ``publish``: whether it is served; else what is saved is a draft."""

    title: str
    text: str
    product: str | None
    language: str | None
    visibility: Literal["public", "internal"]
    inbox: str | None
    publish: bool


class Administration:
    """What is versioned comes with its ETag: give it back as ``if_match``, and a `Problem` with status 412 tells that
    somebody else was faster. Each method needs the scope that `/api/v1/docs` names."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    # Categories

    def taxonomy_versions(self) -> list[shapes.TaxonomyVersion]:
        return cast("shapes.TaxonomyVersions", self._calls.get("/taxonomy/versions"))["versions"]

    def taxonomy_version(self, version: int) -> shapes.TaxonomyVersionDetail:
        return cast("shapes.TaxonomyVersionDetail", self._calls.get(f"/taxonomy/versions/{version}"))

    def taxonomy_draft(self) -> tuple[shapes.TaxonomyDraft, str]:
        """The categories that are worked on, or while nobody does, those that count; with their ETag."""
        answer, etag = self._calls.get_with_etag("/taxonomy/draft")
        return cast("shapes.TaxonomyDraft", answer), etag

    def put_taxonomy_draft(
        self, categories: Sequence[NewCategory], *, if_match: str | None = None
    ) -> tuple[shapes.TaxonomyDraft, str]:
        """All categories, as they shall be; nothing counts before it is published."""
        body = {"categories": list(categories)}
        answer, etag = self._calls.send_with_etag("PUT", "/taxonomy/draft", body, if_match=if_match)
        return cast("shapes.TaxonomyDraft", answer), etag

    def restore_taxonomy_version(
        self, version: int, *, if_match: str | None = None
    ) -> tuple[shapes.TaxonomyDraft, str]:
        """As a draft."""
        path = f"/taxonomy/versions/{version}/restore"
        answer, etag = self._calls.send_with_etag("POST", path, if_match=if_match)
        return cast("shapes.TaxonomyDraft", answer), etag

    def try_taxonomy_draft(self, *, newest: int = 100) -> shapes.TaxonomyTrial:
        """On the newest tickets; it takes seconds."""
        return cast("shapes.TaxonomyTrial", self._calls.send("POST", "/taxonomy/draft/trial", {"newest": newest}))

    def taxonomy_overlap(self, *, limit: int = 50) -> list[shapes.Overlap]:
        """Pairs of categories, the hardest to tell apart first."""
        return cast("shapes.Overlaps", self._calls.get("/taxonomy/draft/overlap", {"limit": limit}))["pairs"]

    def publish_taxonomy_draft(self, *, if_match: str | None = None) -> shapes.TaxonomyVersionDetail:
        answer, _ = self._calls.send_with_etag("POST", "/taxonomy/draft/publish", if_match=if_match)
        return cast("shapes.TaxonomyVersionDetail", answer)

    def discard_taxonomy_draft(self, *, if_match: str | None = None) -> None:
        self._calls.send_with_etag("DELETE", "/taxonomy/draft", if_match=if_match)

    # What triage has learned

    def learned(self) -> shapes.Learned:
        return cast("shapes.Learned", self._calls.get("/triage/heads"))

    def roll_back_head(self, field: str) -> shapes.ServedHead:
        """The head before it serves instead, if there is one."""
        return cast("shapes.ServedHead", self._calls.send("POST", f"/triage/heads/{field}/roll-back"))

    def serve_head(self, field: str) -> shapes.ServedHead:
        """The newest one that waits or was rolled back."""
        return cast("shapes.ServedHead", self._calls.send("POST", f"/triage/heads/{field}/serve"))

    # Keys

    def list_keys(self) -> list[shapes.APIKey]:
        """Those that may do no more than this client's."""
        return cast("shapes.APIKeys", self._calls.get("/keys"))["keys"]

    def add_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        idempotency_key: str | None = None,
        **limits: Unpack[KeyLimits],
    ) -> shapes.NewlyMadeKey:
        """Keep the `secret`: it is not shown again."""
        body = {"name": name, "scopes": list(scopes), **limits}
        answer = self._calls.send("POST", "/keys", body, idempotency_key=idempotency_key)
        return cast("shapes.NewlyMadeKey", answer)

    def update_key(self, key_id: str, *, name: str | None = None, **limits: Unpack[KeyLimits]) -> shapes.APIKey:
        body = dict(limits) if name is None else {"name": name, **limits}
        return cast("shapes.APIKey", self._calls.send("PATCH", f"/keys/{key_id}", body))

    def rotate_key(
        self, key_id: str, *, grace_hours: int = 24, idempotency_key: str | None = None
    ) -> shapes.NewlyMadeKey:
        """Another secret; the one before stays valid for some hours."""
        path, body = f"/keys/{key_id}/rotate", {"grace_hours": grace_hours}
        answer = self._calls.send("POST", path, body, idempotency_key=idempotency_key)
        return cast("shapes.NewlyMadeKey", answer)

    def revoke_key(self, key_id: str) -> shapes.APIKey:
        return cast("shapes.APIKey", self._calls.send("POST", f"/keys/{key_id}/revoke"))

    # Articles that are written here

    def written_articles(self) -> Iterator[shapes.WrittenSummary]:
        """All of them, drafts included."""
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = cast("shapes.WrittenPage", self._calls.get("/written-articles", query))
            yield from page["articles"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def written_article(self, written_id: str) -> tuple[shapes.WrittenArticle, str]:
        """As it was saved last, with its ETag."""
        answer, etag = self._calls.get_with_etag(f"/written-articles/{written_id}")
        return cast("shapes.WrittenArticle", answer), etag

    def write_article(
        self, *, idempotency_key: str | None = None, **fields: Unpack[ArticleFields]
    ) -> shapes.WrittenArticle:
        answer = self._calls.send("POST", "/written-articles", fields, idempotency_key=idempotency_key)
        return cast("shapes.WrittenArticle", answer)

    def update_article(
        self, written_id: str, *, if_match: str | None = None, **fields: Unpack[ArticleFields]
    ) -> tuple[shapes.WrittenArticle, str]:
        path = f"/written-articles/{written_id}"
        answer, etag = self._calls.send_with_etag("PATCH", path, fields, if_match=if_match)
        return cast("shapes.WrittenArticle", answer), etag

    def publish_article(self, written_id: str, *, if_match: str | None = None) -> shapes.WrittenArticle:
        """As it was saved last."""
        path = f"/written-articles/{written_id}/publish"
        return cast("shapes.WrittenArticle", self._calls.send_with_etag("POST", path, if_match=if_match)[0])

    def withdraw_article(self, written_id: str, *, if_match: str | None = None) -> shapes.WrittenArticle:
        """It is served no longer, and stays as a draft."""
        path = f"/written-articles/{written_id}/withdraw"
        return cast("shapes.WrittenArticle", self._calls.send_with_etag("POST", path, if_match=if_match)[0])

    def remove_article(self, written_id: str, *, if_match: str | None = None) -> None:
        """A draft, with all its versions."""
        self._calls.send_with_etag("DELETE", f"/written-articles/{written_id}", if_match=if_match)
