"""Where the model runs: what a GPU there is, and how much memory is free. Imports torch only if there is a driver."""

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
    """Whether this setting (``auto``, ``cpu``, ``cuda``, ``cuda:N``) means a GPU that is there."""
    if device == "auto":
        return gpu_count() > 0
    return device.startswith("cuda") and gpu_count() > gpu_number(device)


def gpu_number(device: str) -> int:
    """N of ``cuda:N``, else 0."""
    number = device.partition(":")[2]
    return int(number) if number.isdigit() else 0


def free_gpu_memory(device: str) -> float:
    """Bytes free on the GPU that would be used, for ``auto`` on all of them; 0 without one."""
    if not is_gpu(device):
        return 0.0
    import torch

    numbers = range(gpu_count()) if device == "auto" else [gpu_number(device)]
    return float(sum(torch.cuda.mem_get_info(number)[0] for number in numbers))


def free_memory() -> float:
    """Bytes of main memory that could be had now; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    values = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines}
    return values.get("MemAvailable", float("inf"))


def use_threads(count: int) -> None:
    """Let torch use so many threads for what the calling thread computes; other threads are not concerned."""
    import torch

    if count == torch.get_num_threads():
        return
    usual = apart(torch.get_num_threads)
    torch.set_num_threads(count)
    # torch gives the number that was set last to threads that have not computed yet.
    apart(lambda: torch.set_num_threads(usual))


def apart(action: Callable[[], Result]) -> Result:
    """What ``action`` gives or raises, computed in a thread that ends with it.

    A thread that has computed keeps a team of torch's threads for the next time. While there are more of those in the
    process than processors, the OpenMP library puts them all to sleep between any two operations, and steps of two
    threads take a quarter longer: of what is only done once, no team should be left."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(action).result()
