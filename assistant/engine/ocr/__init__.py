"""Reads text in photos with rapidocr: lines with boxes, confidences and directions, in reading order.

`reading` is what the server has: the port, which asks the one OCR process. That process runs `reader`: it loads the
models once and reads one photo at a time: `pieces` of pictures that are long, `lines` of text, `displays`. The models
come with the package; nothing is ever downloaded.
"""

from assistant.engine.ocr.reading import RapidOCR, installed

__all__ = ["RapidOCR", "installed"]
