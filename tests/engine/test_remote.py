"""The way to a model server, by one that does what it is told: what is asked of it, and every way in which it fails."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from assistant.engine import describe, install
from assistant.engine.remote.breaker import Breaker, State
from assistant.engine.remote.chat_model import remote_chat_model
from assistant.engine.remote.decisions import RemoteDecisions
from assistant.engine.remote.server import ModelServer
from assistant.errors import EngineBusy, EngineError, EngineFailed, EngineTimeout
from assistant.ports import Question
from assistant.settings import Settings
from tests.engine.conftest import base64_of, encoded, picture
from tests.engine.servers import Reply, ScriptedServer, saying, scripted_server, streaming

KEY = "a key that nobody may see"
TOPIC = Question("category", "What is it about?", ("water", "code", "pump"))
PERSON = Question("person", "Is a person needed?", ("yes", "no"), kind="yes_no")


@dataclass
class Way:
    """To the scripted server, by a clock that is moved by hand; waiting takes no time and is written down."""

    script: ScriptedServer
    at: float = 0.0
    waits: list[float] = field(default_factory=list)
    timeout: float = 20.0

    def __post_init__(self) -> None:
        settings = remote_settings(self.script.url, engine_timeout=self.timeout)
        self.breaker = Breaker(failures=5, cool_down=15.0, clock=lambda: self.at)
        self.server = ModelServer(settings, breaker=self.breaker, sleep=self.waits.append)
        self.model: BaseChatModel = remote_chat_model(self.server)

    def to(self, *replies: Reply | Callable[[dict[str, Any]], Reply]) -> Way:
        self.script.replies.clear()
        self.script.replies.extend(replies)
        return self

    @property
    def asked(self) -> int:
        return len(self.script.requests)

    def fail(self) -> EngineError:
        with pytest.raises(EngineError) as failed:
            self.model.invoke("What now?")
        return failed.value

    def open(self) -> None:
        self.to(Reply(500))
        while self.breaker.state is State.CLOSED:
            self.fail()


def remote_settings(url: str, model: str = "tiny", **fields: Any) -> Settings:
    return Settings(remote_url=url, remote_model=model, remote_api_key=KEY, **fields)


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        yield script


@pytest.fixture
def way(script: ScriptedServer) -> Iterator[Way]:
    way = Way(script)
    yield way
    way.server.close()


def token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": None}


def logprobs(*tokens: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{**tokens[0], "top_logprobs": list(tokens)}], "refusal": None}


def test_all_that_is_asked_arrives_and_all_that_is_answered_comes_back(way: Way) -> None:
    told = logprobs(token("It", -0.1))
    way.to(saying("It leaks.", logprobs=told))
    photo = {"type": "image", "base64": base64_of(picture("red")), "mime_type": "image/png"}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    asking = way.model.bind(response_format=schema, logprobs=True, top_logprobs=3, max_tokens=9, seed=4)
    reply = asking.invoke([HumanMessage(content=[{"type": "text", "text": "What now?"}, photo])], stop=["END"])
    assert (reply.text, reply.response_metadata["logprobs"]) == ("It leaks.", told)
    assert (reply.usage_metadata["input_tokens"], reply.usage_metadata["output_tokens"]) == (7, 3)
    request = way.script.requests[0]
    text, image = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "What now?"}
    assert image["image_url"]["url"] == f"data:image/png;base64,{photo['base64']}"
    assert request["response_format"] == schema
    assert (request["model"], request["stop"], request["seed"], request["temperature"]) == ("tiny", ["END"], 4, 0.0)
    assert (request["logprobs"], request["top_logprobs"], request["max_completion_tokens"]) == (True, 3, 9)


def test_what_passes_is_tried_again_after_a_random_wait(way: Way) -> None:
    way.to(Reply(500), Reply(503), saying("There."))
    assert way.model.invoke("What now?").text == "There."
    assert way.asked == 3
    assert len(way.waits) == 2
    assert 0 <= way.waits[0] <= 0.5
    assert 0 <= way.waits[1] <= 1.0
    assert way.breaker.state is State.CLOSED


def test_waits_are_spread_over_their_whole_range(way: Way) -> None:
    for _ in range(12):
        way.to(Reply(500), saying("There."))
        way.model.invoke("What now?")
    assert min(way.waits) < 0.2
    assert max(way.waits) > 0.3


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_to_come_back_is_obeyed(way: Way, status: int) -> None:
    way.to(Reply(status, headers={"Retry-After": "3"}), saying("There."))
    assert way.model.invoke("What now?").text == "There."
    assert 3.0 <= way.waits[0] <= 3.5


@pytest.mark.parametrize("when", ["60", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_server_that_wants_a_long_rest_gets_it(way: Way, when: str) -> None:
    way.to(Reply(429, headers={"Retry-After": when}))
    refused = way.fail()
    assert isinstance(refused, EngineBusy)
    assert refused.retry_after >= 60
    assert (way.asked, way.waits) == (1, [])
    assert isinstance(way.fail(), EngineBusy)
    assert way.asked == 1  # it was not even asked
    way.at += refused.retry_after
    assert way.to(saying("There.")).model.invoke("What now?").text == "There."


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refusal_is_never_tried_again(way: Way, status: int) -> None:
    assert isinstance(way.to(Reply(status)).fail(), EngineFailed)
    assert (way.asked, way.waits) == (1, [])


def test_requests_that_it_does_not_take_say_nothing_of_the_server(way: Way) -> None:
    way.to(Reply(400))
    for _ in range(8):
        way.fail()
    assert way.breaker.state is State.CLOSED
    assert way.server.trouble() is None


def test_a_wrong_key_is_said_to_the_operator(way: Way) -> None:
    way.to(Reply(401))
    for _ in range(5):
        way.fail()
    assert "ASSISTANT_REMOTE_API_KEY" in (way.server.trouble() or "")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, parts=(b"<html>Sign in</html>",), headers={"Content-Type": "text/html"}),
        Reply(200, parts=(b'{"object": "chat.completion", "choices": ',)),
        Reply(200, parts=(b'{"choices": null}',)),
        Reply(200, parts=(b'{"error": "out of memory at /home/secret"}',)),
        Reply(500, parts=(b"Traceback: /home/secret",)),
    ],
)
def test_what_is_no_answer_is_a_failure_that_gives_nothing_away(way: Way, reply: Reply) -> None:
    failed = way.to(reply).fail()
    assert isinstance(failed, EngineFailed)
    assert "secret" not in failed.message
    assert KEY not in failed.message
    assert "127.0.0.1" not in failed.message


def test_after_failures_in_a_row_it_is_left_alone_and_then_tried_once(way: Way) -> None:
    way.open()
    asked = way.asked
    assert asked == 5  # three of the first call, two of the second
    started = time.perf_counter()
    refused = way.fail()
    with pytest.raises(EngineBusy):
        list(way.model.stream("What now?"))
    assert time.perf_counter() - started < 2.5  # no connection was tried: that takes 3 s to fail
    assert isinstance(refused, EngineBusy)
    assert refused.retry_after == 15.0
    assert way.asked == asked
    assert "Next attempt in 15 s" in (way.server.trouble() or "")
    way.at += 15
    way.fail()  # the trial
    assert way.asked == asked + 1
    assert way.breaker.state is State.OPEN
    way.at += 15
    assert way.to(saying("There.")).model.invoke("What now?").text == "There."
    assert way.breaker.state is State.CLOSED
    assert way.server.trouble() is None


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: that of the tests may have a loop, which a browser left."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_who_asks_without_waiting_goes_the_same_way(way: Way) -> None:
    way.to(saying("There."))
    assert in_a_loop(way.model.ainvoke("What now?")).text == "There."
    way.open()
    asked = way.asked
    with pytest.raises(EngineBusy):
        in_a_loop(way.model.ainvoke("What now?"))
    assert way.asked == asked


def test_an_answer_that_takes_too_long_is_a_timeout(script: ScriptedServer) -> None:
    way = Way(script, timeout=0.3).to(Reply(200, parts=(b"{", b"}"), pause=30.0))
    started = time.perf_counter()
    assert isinstance(way.fail(), EngineTimeout)
    assert time.perf_counter() - started < 20
    assert way.asked == 1  # the time is over: nothing is tried again
    way.server.close()


def test_a_stream_that_never_ends_is_ended_in_time(script: ScriptedServer) -> None:
    way = Way(script, timeout=0.4).to(streaming(*["on "] * 1000, pause=0.05))
    started = time.perf_counter()
    words = []
    with pytest.raises(EngineTimeout):
        words += [chunk.text for chunk in way.model.stream("What now?")]
    assert time.perf_counter() - started < 20
    way.server.close()


def test_what_streams_comes_word_by_word(way: Way) -> None:
    way.to(Reply(503), streaming("It ", "leaks."))
    assert [chunk.text for chunk in way.model.stream("What now?") if chunk.text] == ["It ", "leaks."]
    assert way.asked == 2


@pytest.mark.parametrize(
    "reply",
    [
        streaming("It ", "lea", ends=False),
        streaming("It ", ends=False, then=b'data: {"error": "boom"}\n\n'),
        streaming("It ", ends=False, then=b"data: {no json\n\n"),
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error_and_is_not_begun_again(way: Way, reply: Reply) -> None:
    way.to(reply)
    words: list[str] = []
    for _ in range(5):
        with pytest.raises(EngineFailed):
            words.extend(chunk.text for chunk in way.model.stream("What now?"))
    assert words[0] == "It "
    assert way.asked == 5
    assert way.breaker.state is State.OPEN


def test_a_reader_who_goes_away_is_no_failure_of_the_server(way: Way) -> None:
    way.to(streaming(*["on "] * 50, pause=0.02))
    for _ in range(6):
        reading = way.model.stream("What now?")
        next(reading)
        reading.close()  # type: ignore[attr-defined]  # it is a generator
    assert way.breaker.state is State.CLOSED


def test_a_dead_server_is_told_before_anybody_has_asked_it() -> None:
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        settings = remote_settings(f"http://127.0.0.1:{nobody.getsockname()[1]}/v1", ocr="off")
        installed = install(settings)
        assert "cannot be reached" in (installed.trouble() or "")
        installed.close()
        fact = next(iter(describe(settings)))
    assert (fact.name, fact.status) == ("model", "fail")
    assert "cannot be reached" in fact.detail


def test_doctor_says_whether_the_server_has_the_model(script: ScriptedServer) -> None:
    right, wrong = (next(iter(describe(remote_settings(script.url, name)))) for name in ("tiny", "huge"))
    assert right.status == "ok"
    assert (wrong.status, "lists only: tiny" in wrong.detail) == ("warn", True)


def letter(request: dict[str, Any]) -> str:
    return "yes" if "A. yes" in request["messages"][0]["content"][-1]["text"] else "category"


def test_decisions_by_log_probabilities(way: Way) -> None:
    ours = logprobs(token(" B", -0.2), token("b.", -3.0), token("C", -2.0), token("Hello", -1.0))
    theirs = logprobs(token("A", -0.5), token("B", -1.0))
    way.to(lambda request: saying("B", logprobs=theirs if letter(request) == "yes" else ours))
    topic, person = RemoteDecisions(way.model).decide("It leaks.", [encoded(picture())], [TOPIC, PERSON])
    assert (topic.key, topic.best, person.key, person.best) == ("category", "code", "person", "yes")
    assert tuple(topic.probabilities) == TOPIC.options
    assert sum(topic.probabilities.values()) == pytest.approx(1.0)
    assert topic.probabilities["code"] / topic.probabilities["pump"] == pytest.approx(8.0, rel=0.2)
    assert way.asked == 2
    assert [part["type"] for part in way.script.requests[0]["messages"][0]["content"]] == ["image_url", "text"]


def test_without_log_probabilities_the_letter_counts(way: Way) -> None:
    made = RemoteDecisions(way.to(saying("C.")).model).decide("It leaks.", [], [TOPIC])[0]
    assert (made.best, made.probability) == ("pump", 0.7)
    assert way.asked == 1


def test_without_a_letter_it_is_asked_for_json(way: Way) -> None:
    way.to(saying("Well"), saying('{"choice": "water"}'))
    made = RemoteDecisions(way.model).decide("It leaks.", [], [TOPIC])[0]
    assert (made.best, sum(made.probabilities.values())) == ("water", pytest.approx(1.0))
    asked = way.script.requests[1]["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"]
    assert asked == list(TOPIC.options)


@pytest.mark.parametrize("said", ['{"choice": "fire"}', "no json", "[]", '{"choice": ["water"]}'])
def test_an_option_that_is_none_is_a_failure(way: Way, said: str) -> None:
    way.to(saying("Well"), saying(said))
    with pytest.raises(EngineFailed):
        RemoteDecisions(way.model).decide("It leaks.", [], [TOPIC])


def test_a_server_that_knows_no_log_probabilities_is_asked_for_them_once(way: Way) -> None:
    way.to(lambda request: Reply(400) if "logprobs" in request else saying("B"))
    decisions = RemoteDecisions(way.model)
    assert [decisions.decide("It leaks.", [], [TOPIC])[0].best for _ in range(3)] == ["code"] * 3
    assert sum("logprobs" in request for request in way.script.requests) == 1


def test_one_request_too_long_does_not_cost_the_others_their_probabilities(way: Way) -> None:
    decisions = RemoteDecisions(way.to(Reply(400)).model)
    with pytest.raises(EngineFailed):
        decisions.decide("It leaks. " * 9000, [], [TOPIC])
    way.to(saying("B", logprobs=logprobs(token("B", -0.1))))
    assert decisions.decide("It leaks.", [], [TOPIC])[0].probability > 0.99
