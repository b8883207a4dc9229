"""How many threads a step uses: as many as bring something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from assistant.engine.batching.plan import fastest_threads
from assistant.engine.device import use_threads
from assistant.engine.loader import LoadedModel
from tests.engine.conftest import asking
from tests.engine.test_batching import running, said


def in_a_thread(action: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0]


def of_four(action: Callable[[], Any]) -> Any:
    """What an action gives on a machine that has four threads for torch, for this thread alone."""

    def there() -> Any:
        use_threads(4)
        return action()

    return in_a_thread(there)


def test_the_threads_of_one_thread_are_not_those_of_the_others() -> None:
    before = torch.get_num_threads()
    assert of_four(torch.get_num_threads) == 4
    assert torch.get_num_threads() == before
    assert in_a_thread(torch.get_num_threads) == before


class _Timed:
    """A runner whose steps take so many seconds by the number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.loaded = SimpleNamespace(model=SimpleNamespace(device=torch.device("cpu")))
        self.asked: list[int] = []
        self._seconds = seconds

    def decode_seconds(self) -> float:
        self.asked.append(torch.get_num_threads())
        return self._seconds[torch.get_num_threads()]


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({4: 0.003, 2: 0.003, 1: 0.004}, 1),  # nearly nothing is gained
        ({4: 0.010, 2: 0.012, 1: 0.022}, 2),
        ({4: 0.010, 2: 0.020, 1: 0.040}, 4),
        ({4: 0.900, 2: 0.020, 1: 0.010}, 4),  # such a model is not tried at length
    ],
)
def test_a_step_uses_more_threads_only_where_they_bring_much(seconds: dict[int, float], best: int) -> None:
    runner: Any = _Timed(seconds)
    assert of_four(lambda: fastest_threads(runner)) == best


def test_a_slow_step_is_tried_once() -> None:
    runner: Any = _Timed({4: 0.9})
    of_four(lambda: fastest_threads(runner))
    assert runner.asked == [4]


def test_the_engine_says_how_many_threads_it_uses_and_leaves_the_others_theirs(
    load: Callable[..., LoadedModel],
) -> None:
    before = torch.get_num_threads()
    with running(load()) as engine:
        said(engine.generate(asking("what")))
        assert 1 <= engine.stats().threads <= before
        assert in_a_thread(torch.get_num_threads) == before
