"""The models in this process, and the only home of torch, transformers, accelerate, bitsandbytes and onnxruntime.

`install` says what a deployment has, without loading it; `describe` explains it to the operator. Knows no ticket.
"""

from assistant.engine.diagnosis import describe
from assistant.engine.installation import Installed, install

__all__ = ["Installed", "describe", "install"]
