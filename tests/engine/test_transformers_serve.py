"""The remote model on a real server, `transformers serve`: what it says, and what happens when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from langchain_core.messages import HumanMessage

from assistant.desk.desk import Desk
from assistant.engine import Installed
from assistant.engine.remote.breaker import Breaker, State
from assistant.engine.remote.chat_model import RemoteChatModel, remote_chat_model
from assistant.engine.remote.decisions import RemoteDecisions
from assistant.engine.remote.server import ModelServer
from assistant.errors import EngineBusy, EngineFailed
from assistant.ports import Capabilities, Mode, Question
from assistant.runtime import Runtime
from assistant.skills.answer import AnswerSkill
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.read_photo import read_photo
from assistant.skills.triage import triage
from tests.engine import tiny
from tests.engine.conftest import PATIENCE, base64_of, encoded, picture
from tests.engine.servers import TransformersServe
from tests.engine.test_breaker import Seconds
from tests.engine.test_remote import remote_settings
from tests.factories import make_articles
from tests.fakes import FakeOCR, HashEmbeddings

COOL_DOWN = 10.0
# Seconds on a busy machine; waiting for the server would take PATIENCE.
AT_ONCE = 30.0
WRITTEN = "Error E21 means that the pump draws no water from its tank. [1]"
TOPIC = Question("category", "What is it about?", ("water", "code", "pump"))

pytestmark = pytest.mark.usefixtures("serving")


@pytest.fixture(scope="module")
def running() -> Iterator[TransformersServe]:
    server = TransformersServe()
    yield server
    server.close()


@pytest.fixture
def serving(running: TransformersServe, models: dict[str, Path]) -> TransformersServe:
    """It runs, whatever the test before did to it."""
    running.start()
    return running


@pytest.fixture(scope="module")
def models(running: TransformersServe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made while the server imports what it needs."""
    folder = tmp_path_factory.mktemp("served")
    texts = {"writer": WRITTEN, "letter": "B", "json": '{"choice": "water"}'}
    made = {name: tiny.save_saying(folder / name, text) for name, text in texts.items()}
    made["endless"] = tiny.save_saying(folder / "endless", " on and", ends=False)
    made["seer"] = tiny.save_idefics3(folder / "seer")
    return made


@pytest.fixture
def clock() -> Seconds:
    """The circuit breakers'."""
    return Seconds()


@pytest.fixture
def reach(
    running: TransformersServe, models: dict[str, Path], clock: Seconds
) -> Iterator[Callable[[str], ModelServer]]:
    """The way to one of the models."""
    ways: list[ModelServer] = []

    def get(name: str) -> ModelServer:
        settings = remote_settings(running.url, str(models[name]), engine_timeout=PATIENCE)
        ways.append(ModelServer(settings, breaker=Breaker(failures=3, cool_down=COOL_DOWN, clock=clock)))
        return ways[-1]

    yield get
    for way in ways:
        way.close()


@pytest.fixture
def chat(reach: Callable[[str], ModelServer]) -> Callable[[str], RemoteChatModel]:
    return lambda name: remote_chat_model(reach(name))


def asking(text: str, colour: str | None = None) -> list[HumanMessage]:
    content: list[Any] = [{"type": "text", "text": text}]
    if colour is not None:
        content.append({"type": "image", "base64": base64_of(picture(colour, "E21")), "mime_type": "image/png"})
    return [HumanMessage(content=content)]


def capabilities_of(server: ModelServer) -> Capabilities:
    model = remote_chat_model(server)
    return Capabilities(
        mode=Mode.REMOTE,
        model="tiny",
        revision="remote:tiny",
        embeddings=HashEmbeddings(),
        embedding_model="hash-512",
        ocr=FakeOCR("BrewMaster 300", "E21"),
        chat_model=model,
        decisions=RemoteDecisions(model),
    )


def test_it_answers_whole_and_word_by_word_and_counts_its_tokens(chat: Callable[[str], RemoteChatModel]) -> None:
    model = chat("writer")
    whole = model.invoke("What does E21 mean?")
    chunks = list(model.stream("What does E21 mean?"))
    assert "".join(chunk.text for chunk in chunks) == whole.text == WRITTEN
    assert sum(bool(chunk.text) for chunk in chunks) > 1
    together = sum(chunks[1:], chunks[0])
    words = len(WRITTEN.split())
    for usage in (whole.usage_metadata, together.usage_metadata):
        assert usage is not None
        assert words <= usage["output_tokens"] <= words + 1  # with the one that ends it
        assert usage["input_tokens"] > 5
    assert model.bind(max_tokens=2).invoke("What?").response_metadata["finish_reason"] == "length"


def test_the_photo_reaches_the_model(chat: Callable[[str], RemoteChatModel]) -> None:
    seeing = chat("seer").bind(max_tokens=12)
    blind, red, again, green = (
        seeing.invoke(asking("what is the code", colour)) for colour in (None, "red", "red", "green")
    )
    assert red.text == again.text != green.text
    assert red.usage_metadata["input_tokens"] > blind.usage_metadata["input_tokens"]


def test_it_decides_by_what_it_says_for_it_tells_no_probabilities(chat: Callable[[str], RemoteChatModel]) -> None:
    photo = encoded(picture("red", "E21"))
    by_letter, by_json = (
        RemoteDecisions(chat(name)).decide("It leaks.", [photo], [TOPIC])[0] for name in ("letter", "json")
    )
    assert (by_letter.best, by_json.best) == ("code", "water")
    assert sum(by_json.probabilities.values()) == pytest.approx(1.0)
    with pytest.raises(EngineFailed):  # a model that says nothing of the kind
        RemoteDecisions(chat("seer").bind(max_tokens=4)).decide("It leaks.", [], [TOPIC])


def test_a_server_that_dies_in_mid_sentence_is_an_error(
    reach: Callable[[str], ModelServer], serving: TransformersServe
) -> None:
    server = reach("endless")
    reading = remote_chat_model(server).stream("Tell me all", max_tokens=1900)
    said = [next(reading).text for _ in range(6)]
    serving.kill()
    with pytest.raises(EngineFailed):
        said += [chunk.text for chunk in reading]
    assert " on and on" in "".join(said)
    assert "broke off" in (server.trouble() or "") or "cannot be reached" in (server.trouble() or "")


def test_while_the_server_is_dead_answers_are_quoted_at_once_and_written_when_it_is_back(
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
    reach: Callable[[str], ModelServer],
    serving: TransformersServe,
    clock: Seconds,
    tmp_path: Path,
) -> None:
    server = reach("writer")
    runtime = with_server(make_runtime, server)
    desk = runtime.desk
    make_articles(desk, tmp_path / "articles")
    client = make_app(runtime).test_client()
    assert answered(desk) == WRITTEN.removesuffix(" [1]")
    assert client.get("/readyz").json["status"] == "ok"

    serving.kill()
    quoted = answered(desk)
    assert "draws no water" in quoted
    assert quoted != WRITTEN.removesuffix(" [1]")
    assert server.breaker.state is State.OPEN
    started = time.perf_counter()
    assert answered(desk) == quoted
    assert time.perf_counter() - started < AT_ONCE
    ready = client.get("/readyz").json
    assert (ready["status"], "cannot be reached" in ready["degraded_reason"]) == ("degraded", True)

    clock.at += COOL_DOWN  # one asks again, in vain
    assert answered(desk) == quoted
    assert server.breaker.state is State.OPEN

    serving.start()
    clock.at += COOL_DOWN
    assert answered(desk) == WRITTEN.removesuffix(" [1]")
    assert server.breaker.state is State.CLOSED
    assert client.get("/readyz").json["status"] == "ok"


def test_without_the_server_photos_are_read_and_tickets_triaged_by_what_is_left(
    make_runtime: Callable[..., Runtime], reach: Callable[[str], ModelServer], serving: TransformersServe
) -> None:
    server = reach("letter")
    desk = with_server(make_runtime, server).desk
    with_model = triage("My machine leaks.", capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    serving.kill()
    for _ in range(2):  # the first finds out, the second need not
        started = time.perf_counter()
        evidence = read_photo(encoded(picture()), capabilities=desk.capabilities, taxonomy=desk.taxonomy)
        fields = triage("My machine leaks.", capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    assert time.perf_counter() - started < AT_ONCE
    assert evidence.text == "BrewMaster 300\nE21"
    assert [field.name for field in fields] == [field.name for field in with_model]
    assert [field.probabilities for field in fields] != [field.probabilities for field in with_model]
    with pytest.raises(EngineBusy):
        remote_chat_model(server).invoke("Are you there?")


def with_server(make_runtime: Callable[..., Runtime], server: ModelServer) -> Runtime:
    runtime = make_runtime(capabilities=capabilities_of(server))
    return Runtime(runtime.settings, runtime.desk, Installed(runtime.desk.capabilities, trouble=server.trouble))


def answered(desk: Desk) -> str:
    return (
        AnswerSkill(desk.capabilities, desk.index.retriever()).invoke(AnswerRequest("What does error E21 mean?")).text
    )
