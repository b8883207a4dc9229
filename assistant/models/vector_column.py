"""The column of a vector: bytes in Python on both databases, a ``halfvec`` on PostgreSQL that can be indexed."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator, TypeEngine


class UnitVector(TypeDecorator[bytes]):
    """Float32, little-endian, unit length. PostgreSQL keeps half floats: cosines are then right to about 0.001."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(LargeBinary())
        from pgvector.sqlalchemy import HALFVEC

        return dialect.type_descriptor(HALFVEC())

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "postgresql":
            return value
        return np.frombuffer(value, dtype="<f4")

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        if value is None or dialect.name != "postgresql":
            return cast("bytes | None", value)
        return bytes(np.asarray(value, dtype="<f4").tobytes())
