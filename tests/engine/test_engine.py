"""The engine thread: streaming, cancelling, deadlines, a full queue, failures, and closing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assistant.engine.batching.engine import Engine, Generation
from assistant.engine.batching.request import Done, TextDelta
from assistant.engine.loader import LoadedModel
from assistant.errors import DeadlinePassed, EngineBusy, EngineFailed, EngineTimeout, NotReady
from assistant.ports import within
from tests.engine.conftest import PATIENCE, asking, inputs_of, picture


def text_of(generation: Generation) -> str:
    return "".join(item.text for item in generation if isinstance(item, TextDelta))


@pytest.fixture
def held(engine: Engine) -> Iterator[Callable[[], None]]:
    """The engine is busy until this is called."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_model: LoadedModel) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    thread = threading.Thread(target=engine.call, args=(work,))
    thread.start()
    assert begun.wait(PATIENCE)
    yield go_on.set
    go_on.set()
    thread.join(PATIENCE)


def test_what_is_streamed_is_what_generate_would_say(engine: Engine, load: Callable[..., LoadedModel]) -> None:
    loaded, request = load(), asking("what does the display show", picture("red", "E21"))
    items = list(engine.generate(request))
    done = items[-1]
    assert isinstance(done, Done)
    inputs = inputs_of(loaded, request.messages, request.images)
    tokens = loaded.model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    said = "".join(item.text for item in items if isinstance(item, TextDelta))
    assert said == loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    assert (done.input_tokens, done.output_tokens) == (inputs["input_ids"].shape[1], len(tokens))


def test_whoever_sets_a_deadline_does_not_wait_longer(engine: Engine, held: Callable[[], None]) -> None:
    with pytest.raises(DeadlinePassed), within(0.1):
        engine.call(lambda _model: None)
    with pytest.raises(EngineTimeout), within(PATIENCE):
        engine.call(lambda _model: None, timeout=0.1)
    held()
    with within(PATIENCE):
        assert engine.call(lambda _model: 1) == 1


def test_two_readers_at_once_each_get_their_own_answer(engine: Engine) -> None:
    requests = [asking("red light", picture("red")), asking("green light E21", picture("green", "E21"))]
    alone = [text_of(engine.generate(request)) for request in requests]
    together: dict[int, str] = {}

    def read(number: int) -> None:
        together[number] = text_of(engine.generate(requests[number]))

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [together[0], together[1]] == alone


def test_a_reader_who_goes_away_frees_the_engine(engine: Engine) -> None:
    generation = engine.generate(asking("the", max_new_tokens=1500))
    next(generation)
    generation.close()
    for _ in range(2):  # the second one after a whole step
        assert engine.call(lambda _model: "free") == "free"
    assert engine.stats().counters.cancelled == 1


def test_a_deadline_ends_a_generation_with_a_timeout(engine: Engine) -> None:
    with pytest.raises(EngineTimeout):
        list(engine.generate(asking("the", max_new_tokens=1500), timeout=0.3))
    assert text_of(engine.generate(asking())) is not None  # the next one is served


def test_waiting_counts_towards_the_deadline(engine: Engine, held: Callable[[], None]) -> None:
    with pytest.raises(EngineTimeout):
        engine.call(lambda _model: None, timeout=0.1)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(engine: Engine, held: Callable[[], None]) -> None:
    waiting = [engine.generate(asking()) for _ in range(4)]
    with pytest.raises(EngineBusy) as refused:
        engine.generate(asking())
    assert refused.value.retry_after > 0
    assert engine.stats().waiting == 4
    held()
    assert all(isinstance(list(generation)[-1], Done) for generation in waiting)


def test_a_request_that_fails_harms_no_other(engine: Engine) -> None:
    def broken(_model: LoadedModel) -> None:
        raise ZeroDivisionError("secret detail")

    with pytest.raises(EngineFailed) as failed:
        engine.call(broken)
    assert "secret" not in failed.value.message
    assert isinstance(list(engine.generate(asking()))[-1], Done)
    assert engine.trouble() is None


def test_closing_fails_those_who_wait_and_refuses_those_who_come(engine: Engine, held: Callable[[], None]) -> None:
    waiting = engine.generate(asking())
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(EngineFailed):
        list(waiting)
    held()
    closing.join(PATIENCE)
    engine.close()
    with pytest.raises(EngineFailed):
        engine.generate(asking())
    assert engine.trouble() is not None


def test_a_model_that_cannot_be_loaded_is_told_and_tried_again_later(load: Callable[..., LoadedModel]) -> None:
    tries = 0

    def loading() -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise NotReady("The disk is gone.")
        return load()

    engine = Engine(loading, queue_size=4, timeout=PATIENCE, retry_loading=PATIENCE)
    for _ in range(2):
        with pytest.raises(NotReady, match="disk is gone"):
            list(engine.generate(asking()))
    assert engine.trouble() == "The disk is gone."
    assert tries == 1
    engine.close()

    tries = 0
    engine = Engine(loading, queue_size=4, timeout=PATIENCE, retry_loading=0.0)
    with pytest.raises(NotReady, match="disk is gone"):
        list(engine.generate(asking()))
    assert isinstance(list(engine.generate(asking()))[-1], Done)
    assert engine.trouble() is None
    engine.close()
