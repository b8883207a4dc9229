"""What photos are compared by."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import Base


class PhotoHash(Base):
    """The perceptual hash of a photo (`media.likeness`), once for all attachments with that sha256. The parts of it are
    indexed: near hashes have a part in common, or nearly so."""

    __tablename__ = "photo_hashes"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Text, unique=True)
    value: Mapped[int | None] = mapped_column(BigInteger)  # None: there is nothing in it to compare, or it is lost
    part_0: Mapped[int | None] = mapped_column(index=True)
    part_1: Mapped[int | None] = mapped_column(index=True)
    part_2: Mapped[int | None] = mapped_column(index=True)
    part_3: Mapped[int | None] = mapped_column(index=True)
    # Codes of single points in it (`media.copies`); None: not looked for yet.
    points: Mapped[bytes | None] = mapped_column(LargeBinary)


class PhotoCopy(Base):
    """Two photos of which one is a copy of the other, by their pixels; each pair once, the newer one first."""

    __tablename__ = "photo_copies"
    __table_args__ = (UniqueConstraint("sha256", "other_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Text)
    other_sha256: Mapped[str] = mapped_column(Text, index=True)
