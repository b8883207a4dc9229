"""Where the model runs: which GPUs there are, and how much memory is free. Imports torch only if there is a driver."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

# NVIDIA, NVIDIA under WSL, AMD.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def gpu_count() -> int:
    """GPUs that torch can use."""
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def is_gpu(device: str) -> bool:
    """Whether this setting (``auto``, ``cpu``, ``cuda``, ``cuda:N``) means a GPU that exists."""
    if device == "auto":
        return gpu_count() > 0
    return device.startswith("cuda") and gpu_count() > gpu_number(device)


def gpu_number(device: str) -> int:
    """N of ``cuda:N``, else 0."""
    number = device.partition(":")[2]
    return int(number) if number.isdigit() else 0


def free_memory(device: str) -> float:
    """Bytes free on the GPU that ``device`` means, for ``auto`` on all of them; without a GPU, bytes of main memory
    available without swapping."""
    if not is_gpu(device):
        import psutil

        return float(psutil.virtual_memory().available)
    import torch

    numbers = range(gpu_count()) if device == "auto" else [gpu_number(device)]
    return float(sum(torch.cuda.mem_get_info(number)[0] for number in numbers))


def is_out_of_memory(error: BaseException) -> bool:
    """Of main memory or of a GPU's, which torch reports as a `RuntimeError`."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def use_threads(count: int) -> None:
    """Set how many threads torch uses for what the calling thread computes; other threads are not affected."""
    import torch

    if count == torch.get_num_threads():
        return
    default = in_own_thread(torch.get_num_threads)
    torch.set_num_threads(count)
    # Threads that have not computed yet get the number that was set last.
    in_own_thread(lambda: torch.set_num_threads(default))


def in_own_thread(action: Callable[[], Result]) -> Result:
    """What ``action`` returns or raises, computed in a thread that ends with it.

    A thread that has computed keeps a pool of torch threads for the next time. While the process has more of those than
    processors, OpenMP puts them all to sleep between any two operations: the questions about a ticket took 15.5 ms with
    two threads and 13.5 with one, without another pool in the process 7.7. One-off work should leave no pool behind."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(action).result()
