"""The decode step as one compiled function: the same operations, fused, with no Python in between.

On a CPU, half of a small model's step is Python and operations too small for what it takes to launch them: compiled, a
step of 12 rows of the small shape takes 2.8 ms instead of 4.8, one of a single row 1.2 instead of 2.1. Freezing the
weights, or a C++ wrapper, gains nothing more. Compiling takes a quarter of a minute and, for a CPU, a C++ compiler. The
caller checks whether the result is correct and faster.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

import structlog
import torch

log = structlog.get_logger(__name__)

# torch's compiler and its stance (below) belong to the whole process, and are not made for several threads: two engines
# that compile at once can abort it.
_COMPILER = threading.Lock()
# So can an interpreter that exits under a compiling thread. Taken at exit and kept: nothing is compiled afterwards.
atexit.register(_COMPILER.acquire, timeout=120.0)


class CompiledStep:
    """``step`` compiled for inputs of any size: in most cases once for one row, and once for more."""

    def __init__(self, step: Callable[..., torch.Tensor]) -> None:
        self.failed = False
        self._run: Callable[..., torch.Tensor] = torch.compile(step, dynamic=True)

    @torch.no_grad()  # not inference mode: tensors created there cannot be compiled for
    def compile(self, *inputs: torch.Tensor, is_closing: Callable[[], bool]) -> torch.Tensor:
        """Run it, compiling for inputs like these. Waits while another engine compiles. Raises whatever goes wrong,
        `RuntimeError` if ``is_closing`` before it begins."""
        while not (has_compiler := _COMPILER.acquire(timeout=0.1)) and not is_closing():
            pass
        try:
            if is_closing():
                raise RuntimeError("the engine is being closed")
            return self._run(*inputs)
        finally:
            if has_compiler:
                _COMPILER.release()

    @torch.no_grad()
    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor | None:
        """Run it without ever compiling, which would keep everybody waiting. None while another engine has the
        compiler, and for good once it has failed."""
        if self.failed or not _COMPILER.acquire(blocking=False):
            return None
        try:
            with torch.compiler.set_stance("eager_on_recompile"):
                return self._run(*inputs)
        except Exception as error:
            log.warning("engine.compiled_step_failed", error=f"{type(error).__name__}: {error}"[:300])
            self.failed = True
            return None
        finally:
            _COMPILER.release()
