"""Training, evaluation and benchmarks. Nothing that serves customers imports it.

Every command has a module with one function that takes plain arguments and ``progress``, raises `Invalid` for unusable
data, and returns a frozen report with ``to_json`` and ``render``; some reports also ``plot``.
"""
