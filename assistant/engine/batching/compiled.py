"""A step of the model as one compiled function: the same operations, fused, with no Python between them.

Of a small model's step on a processor half is Python and operations too small for what it takes to begin one. Compiling
takes a quarter of a minute and, for a CPU, a C++ compiler on the machine; whether the result is right and faster is for
who compiles to try.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import torch

log = structlog.get_logger(__name__)


class Compiled:
    """``step`` compiled for any sizes of its inputs: mostly once for one row, and once for more."""

    def __init__(self, step: Callable[..., torch.Tensor]) -> None:
        self.failed = False
        self._run: Callable[..., torch.Tensor] = torch.compile(step, dynamic=True)

    @torch.no_grad()  # not in inference mode: what is made there cannot be compiled about
    def first(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run it, and compile it for inputs of this kind. Raises whatever goes wrong."""
        return self._run(*inputs)

    @torch.no_grad()
    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor | None:
        """Run it, never compiling: that would keep everybody waiting. None if it fails, and from then on."""
        if self.failed:
            return None
        try:
            with torch.compiler.set_stance("eager_on_recompile"):
                return self._run(*inputs)
        except Exception as error:
            log.warning("engine.compiled_step_failed", error=f"{type(error).__name__}: {error}"[:300])
            self.failed = True
            return None
