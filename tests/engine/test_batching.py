"""Several requests at once: whoever joins and leaves when, each gets what it would have got alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.engine.batching.engine import Engine, Generation
from assistant.engine.batching.request import Done, GenerationRequest, Limits, TextDelta
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed, TooLarge
from assistant.ports import WorkPriority
from tests.engine import tiny
from tests.engine.conftest import PATIENCE, asking, inputs_of, picture

Load = Callable[..., LoadedModel]
# A few pictures, so that some are seen again.
PICTURES = (
    picture("red", "E21"),
    picture("green", size=(128, 64)),
    picture("blue", "E04", size=(64, 96)),
)
LIMITS = Limits(slots=3, capacity=512, chunk_seconds=0.0)  # no time to prefill: prompts come in the smallest chunks


@contextmanager
def running(loaded: LoadedModel, limits: Limits = LIMITS, **more: Any) -> Iterator[Engine]:
    engine = Engine(lambda: loaded, **{"timeout": PATIENCE, "limits": limits, **more})
    yield engine
    assert engine.close(timeout=PATIENCE)


def alone(loaded: LoadedModel, request: GenerationRequest) -> list[int]:
    """The tokens that transformers' own `generate` writes for this request."""
    inputs = inputs_of(loaded, request.messages, request.images)
    neutral: dict[str, Any] = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
    written = loaded.model.generate(**inputs, max_new_tokens=request.max_new_tokens, **neutral)
    tokens: list[int] = written[0, inputs["input_ids"].shape[1] :].tolist()
    return tokens


def said(generation: Generation) -> tuple[str, Done]:
    items = list(generation)
    assert isinstance(items[-1], Done)
    return "".join(item.text for item in items if isinstance(item, TextDelta)), items[-1]


def check_alike(loaded: LoadedModel, request: GenerationRequest, generation: Generation) -> None:
    text, done = said(generation)
    tokens = alone(loaded, request)
    assert text == loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    assert done.output_tokens == len(tokens)


arrivals = st.lists(
    st.tuples(
        st.lists(st.sampled_from(tiny.WORDS), min_size=1, max_size=60).map(" ".join),
        st.lists(st.sampled_from(PICTURES), max_size=2),
        st.integers(1, 20),  # tokens to write
        st.integers(0, 3),  # steps of the engine before the next one comes
    ),
    min_size=2,
    max_size=7,
)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize("architecture", sorted(tiny.ARCHITECTURES))
def test_at_any_arrival_everyone_gets_what_they_would_get_alone(load: Load, architecture: str, quantize: str) -> None:
    loaded = load(architecture, quantize=quantize)
    with running(loaded) as engine:

        @settings(
            max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
        )
        @given(arrivals)
        def check(plan: list[tuple[str, list[Any], int, int]]) -> None:
            begun = []
            for text, photos, length, pause in plan:
                request = asking(text, *photos, max_new_tokens=length)
                begun.append((request, engine.generate(request)))
                steps = engine.stats().counters.decode_steps + pause
                until = time.monotonic() + 0.05
                while engine.stats().counters.decode_steps < steps and time.monotonic() < until:
                    time.sleep(0.001)
            for request, generation in begun:
                check_alike(loaded, request, generation)

        check()
        stats = engine.stats()
        assert stats.batched
        assert stats.occupancy > 1.1
        assert stats.counters.failed == 0


def test_what_cannot_be_batched_is_served_one_at_a_time(load: Load) -> None:
    loaded = load("mllama")
    requests = [asking("red light", PICTURES[0]), asking("code", max_new_tokens=5)]
    with running(loaded) as engine:
        begun = [engine.generate(request) for request in requests]
        for request, generation in zip(requests, begun, strict=True):
            check_alike(loaded, request, generation)
        assert not engine.stats().batched


def test_a_photo_is_encoded_once_and_an_earlier_turn_is_not_read_again(load: Load) -> None:
    loaded = load()
    request = asking("what does the display show " * 8, PICTURES[0])
    with running(loaded) as engine:
        first, _ = said(engine.generate(request))
        read = engine.stats().counters.prompt_tokens
        answered = [
            *request.messages,
            {"role": "assistant", "content": [{"type": "text", "text": first}]},
            {"role": "user", "content": [{"type": "text", "text": "which code"}]},
        ]
        following = replace(request, messages=answered)
        check_alike(loaded, following, again := engine.generate(following))
        assert again is not None
        stats = engine.stats()
        assert stats.counters.photos_encoded == 1
        assert stats.counters.prompt_tokens - read < read / 2
        other = asking("is it the same", PICTURES[0])  # another text before the photo: read anew, but not encoded anew
        check_alike(loaded, other, engine.generate(other))
        assert engine.stats().counters.photos_encoded == 1
        assert engine.stats().photo_hits >= 1


def test_what_was_kept_of_another_photo_is_not_taken_for_this_one(load: Load) -> None:
    loaded = load()
    with running(loaded) as engine:
        for photo in PICTURES:
            request = asking("what does the display show " * 8, photo)
            check_alike(loaded, request, engine.generate(request))


def test_a_long_prompt_does_not_hold_up_those_who_are_being_answered(load: Load) -> None:
    loaded = load()
    with running(loaded, Limits(slots=2, capacity=1500, chunk_seconds=0.0)) as engine:
        decoding = engine.generate(asking("the", max_new_tokens=1400))
        next(decoding)
        before = engine.stats().counters
        long = engine.generate(asking("red light blinks " * 100, max_new_tokens=1))
        said(long)
        after = engine.stats().counters
        chunks = (after.prompt_tokens - before.prompt_tokens) / 32
        assert after.decode_steps - before.decode_steps >= chunks - 1  # a token for the other after every chunk of 32
        decoding.close()


def test_short_prompts_that_wait_together_are_read_in_one_step_and_written_in_the_same_ones(load: Load) -> None:
    loaded = load()
    with running(loaded, Limits(slots=3, capacity=400, chunk_seconds=PATIENCE)) as engine:
        held, going = threading.Event(), threading.Event()
        waiting = threading.Thread(target=engine.call, args=[lambda _: (going.set(), held.wait(PATIENCE))])
        waiting.start()
        going.wait(PATIENCE)
        requests = [asking(text, photo, max_new_tokens=6) for text, photo in zip("abc", PICTURES, strict=False)]
        generations = [engine.generate(request) for request in requests]
        held.set()
        for request, generation in zip(requests, generations, strict=True):
            check_alike(loaded, request, generation)
        waiting.join()
        assert engine.stats().counters.photos_encoded == 3
        assert engine.stats().counters.decode_steps == 5  # the first token of each comes with its prompt
        assert engine.stats().occupancy == 3


def test_the_more_important_is_served_first_and_who_gave_way_goes_on_where_it_was(load: Load) -> None:
    loaded = load()
    with running(loaded, Limits(slots=1, capacity=512)) as engine:
        slow = replace(asking("the pump", max_new_tokens=300), priority=WorkPriority.BATCH)
        generation = engine.generate(slow)
        next(generation)
        urgent = asking("red light", PICTURES[0], max_new_tokens=3)
        text, _ = said(engine.generate(urgent))
        counters = engine.stats().counters
        assert counters.preempted == 1
        assert counters.finished == 1  # the slow one is not done: it was not waited for
        assert text == loaded.tokenizer.decode(alone(loaded, urgent), skip_special_tokens=True)
        rest = "".join(item.text for item in generation if isinstance(item, TextDelta))
        expected = loaded.tokenizer.decode(alone(loaded, slow), skip_special_tokens=True)
        assert expected.endswith(rest)


def test_a_request_knows_how_many_are_before_it(load: Load) -> None:
    with running(load(), Limits(slots=1, capacity=1500)) as engine:
        first = engine.generate(asking("the", max_new_tokens=1200))
        next(first)
        second, third = engine.generate(asking()), engine.generate(asking())
        assert (first.queue_position, second.queue_position, third.queue_position) == (0, 0, 1)
        first.close()
        said(second)
        said(third)
        assert third.queue_position == 0


def test_a_slow_reader_holds_nobody_up(load: Load) -> None:
    with running(load()) as engine:
        slow = engine.generate(asking("the", max_new_tokens=100))
        said(engine.generate(asking("red", max_new_tokens=5)))
        until = time.monotonic() + PATIENCE
        while engine.stats().running and time.monotonic() < until:
            time.sleep(0.01)
        assert engine.stats().counters.finished == 2  # the slow one too, though nobody has read it
        assert said(slow)[1].output_tokens > 0


def test_who_leaves_frees_the_slot_within_a_step(load: Load) -> None:
    with running(load(), Limits(slots=1, capacity=1500)) as engine:
        for _ in range(3):
            generation = engine.generate(asking("the", max_new_tokens=1200))
            next(generation)
            generation.close()
        said(engine.generate(asking("red", max_new_tokens=2)))
        assert engine.stats().counters.cancelled == 3


def test_the_same_seed_gives_the_same_text_whoever_else_is_there(load: Load) -> None:
    request = asking("red light", max_new_tokens=16, temperature=1.0, seed=7)
    with running(load()) as engine:
        by_itself = said(engine.generate(request))[0]
        others = [engine.generate(asking(word, max_new_tokens=30, temperature=1.5)) for word in ("pump", "water")]
        assert said(engine.generate(request))[0] == by_itself
        assert said(engine.generate(replace(request, seed=8)))[0] != by_itself
        for other in others:
            said(other)


def test_log_probabilities_are_those_of_the_model(load: Load) -> None:
    import torch

    loaded, request = load(), asking("red light", PICTURES[0], max_new_tokens=4, logprobs=3)
    with running(loaded) as engine:
        done = said(engine.generate(request))[1]
    inputs = inputs_of(loaded, request.messages, request.images)
    with torch.inference_mode():
        logs = loaded.model(**inputs).logits[0, -1].log_softmax(-1)
    first = done.logprobs[0]
    assert len(done.logprobs) == done.output_tokens
    assert first.logprob == pytest.approx(float(logs.max()), abs=1e-3)
    assert [value for _, value in first.top] == pytest.approx(logs.topk(3).values.tolist(), abs=1e-3)


def test_a_prompt_that_leaves_no_room_is_refused_and_says_so(load: Load) -> None:
    with running(load(), Limits(slots=1, capacity=64)) as engine:
        said(engine.generate(asking("red")))
        with pytest.raises(TooLarge):
            engine.generate(asking("red light " * 100))
        assert said(engine.generate(asking("red", max_new_tokens=1000)))[1].reason in ("length", "stop")


def test_memory_that_does_not_suffice_for_one_conversation_is_said_when_loading(load: Load) -> None:
    from assistant.errors import NotReady

    with (
        running(load(), Limits(memory_share=1e-9)) as engine,
        pytest.raises(NotReady, match="ASSISTANT_CONTEXT_TOKENS"),
    ):
        said(engine.generate(asking()))


def test_slots_are_as_many_as_fit_and_never_more_memory_afterwards(load: Load) -> None:
    loaded = load()
    with running(loaded, Limits(slots=1000, capacity=512, memory_share=1e-3)) as engine:
        said(engine.generate(asking()))
        stats = engine.stats()
        assert 1 <= stats.slots < 1000
        begun = [engine.generate(asking("light " * n, PICTURES[n % 3])) for n in range(1, 8)]
        for generation in begun:
            said(generation)
        assert engine.stats().kv_bytes == stats.kv_bytes


class TestFailures:
    """One request's failure is its own."""

    def test_a_poisoned_photo_fails_its_own_request(self, load: Load, poison: Callable[..., Any]) -> None:
        loaded = load()
        with running(loaded) as engine:
            said(engine.generate(asking("red")))
            good = engine.generate(asking("the display", PICTURES[0]))
            with poison(loaded, "get_image_features", when=_is_blue), pytest.raises(EngineFailed):
                said(engine.generate(asking("the display", PICTURES[2])))
            check_alike(loaded, asking("the display", PICTURES[0]), good)
            assert engine.trouble() is None

    def test_a_nan_fails_its_own_request_and_does_not_linger_in_the_slot(self, load: Load) -> None:
        loaded = load()
        with running(loaded, Limits(slots=1, capacity=512)) as engine:
            said(engine.generate(asking("red")))
            with _nan_for_blue(loaded), pytest.raises(EngineFailed, match="invalid numbers"):
                said(engine.generate(asking("the display", PICTURES[2])))
            request = asking("the display shows a light", PICTURES[0])
            check_alike(loaded, request, engine.generate(request))

    def test_a_pass_that_fails_for_one_row_fails_that_row_alone(self, load: Load, poison: Callable[..., Any]) -> None:
        loaded = load()
        code = loaded.tokenizer.convert_tokens_to_ids("E21")
        with running(loaded) as engine:
            said(engine.generate(asking("red")))
            good = [engine.generate(asking(word, max_new_tokens=40)) for word in ("red light", "water pump")]
            with poison(loaded, "forward", when=lambda inputs: bool((inputs["input_ids"] == code).any())):
                with pytest.raises(EngineFailed):
                    said(engine.generate(asking("E21")))
                texts = [said(generation)[0] for generation in good]
        for word, text in zip(("red light", "water pump"), texts, strict=True):
            tokens = alone(loaded, asking(word, max_new_tokens=40))
            assert text == loaded.tokenizer.decode(tokens, skip_special_tokens=True)

    def test_out_of_memory_is_said_in_words(self, load: Load, poison: Callable[..., Any]) -> None:
        loaded = load()
        error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        with running(loaded) as engine:
            said(engine.generate(asking("red")))
            with (
                poison(loaded, "forward", when=lambda _: True, error=error),
                pytest.raises(EngineFailed, match="memory"),
            ):
                said(engine.generate(asking("red light")))
            said(engine.generate(asking("red light")))

    # That the thread dies of something is what is tested.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_those_who_wait_survive_the_death_of_the_thread(self, load: Load) -> None:
        with running(load(), Limits(slots=1, capacity=512)) as engine:
            said(engine.generate(asking("red")))
            died, begun = threading.Event(), threading.Event()

            def die(_model: LoadedModel) -> None:
                begun.set()
                died.wait(PATIENCE)
                raise SystemExit  # ends the thread: no handler of failures catches it

            failures: list[Exception] = []
            caller = threading.Thread(target=lambda: failures.append(_failure(lambda: engine.call(die))))
            caller.start()
            assert begun.wait(PATIENCE)
            waiting = [engine.generate(asking("red light")) for _ in range(3)]
            died.set()
            for generation in waiting:
                said(generation)
            assert engine.trouble() is None
            caller.join(PATIENCE)
            assert isinstance(failures[0], EngineFailed)

    def test_a_step_that_fails_as_a_whole_fails_those_in_it_and_serves_the_next(self, load: Load) -> None:
        loaded = load()
        with running(loaded) as engine:
            said(engine.generate(asking("red")))
            held = engine.generate(asking("the", max_new_tokens=400))
            next(held)
            broken = engine._batch  # the seam is inside: nothing outside can break a whole step
            assert broken is not None
            whole, broken.step = broken.step, _raise_once(broken)  # type: ignore[method-assign]
            with pytest.raises(EngineFailed):
                list(held)
            broken.step = whole  # type: ignore[method-assign]
            request = asking("red light", PICTURES[0])
            check_alike(loaded, request, engine.generate(request))
            assert engine.stats().counters.restarts == 1
            assert engine.trouble() is None


@pytest.fixture
def poison() -> Callable[..., Any]:
    """Make a method of the real model fail for some inputs, for a while."""

    @contextmanager
    def poisoned(
        loaded: LoadedModel, name: str, *, when: Callable[[dict[str, Any]], bool], error: Exception | None = None
    ) -> Iterator[None]:
        original = getattr(loaded.model, name)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if when(kwargs):
                raise error or ZeroDivisionError("poisoned")
            return original(*args, **kwargs)

        setattr(loaded.model, name, failing)
        try:
            yield
        finally:
            delattr(loaded.model, name)

    return poisoned


def _is_blue(inputs: dict[str, Any]) -> bool:
    pixels = inputs["pixel_values"].reshape(-1, 3, *inputs["pixel_values"].shape[-2:])
    red, _, blue = pixels.mean(dim=(0, 2, 3)).tolist()
    return bool(blue > red)


@contextmanager
def _nan_for_blue(loaded: LoadedModel) -> Iterator[None]:
    original = loaded.model.get_image_features

    def features(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        if _is_blue(kwargs):
            found.pooler_output = [part * float("nan") for part in found.pooler_output]
        return found

    loaded.model.get_image_features = features
    try:
        yield
    finally:
        del loaded.model.get_image_features


def _raise_once(batch: Any) -> Callable[[], None]:
    whole, raised = batch.step, []

    def step() -> None:
        if not raised:
            raised.append(True)
            raise RuntimeError("the step broke")
        whole()

    return step


def _failure(action: Callable[[], Any]) -> Exception:
    with pytest.raises(EngineFailed) as failed:
        action()
    return failed.value
