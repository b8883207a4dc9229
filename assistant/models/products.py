"""The operator's own products: their photos, and what was fitted to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type
from assistant.models.tickets import HeadState


class ProductPhoto(Base):
    """A reference photo of a product, looked at once by each kind of features."""

    __tablename__ = "product_photos"
    __table_args__ = (UniqueConstraint("product", "sha256", "features", "condition"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    product: Mapped[str] = mapped_column(Text)  # its key
    sha256: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)  # read in it; of one that waits to be looked at: its product's name
    features: Mapped[str] = mapped_column(Text)
    views: Mapped[bytes] = mapped_column(LargeBinary)  # (crops, d) float16; empty while it waits to be looked at
    condition: Mapped[str] = mapped_column(Text, default="")  # that it shows, in the operator's words; empty: not said
    kind: Mapped[str] = mapped_column(Text, default="")  # of the condition, see `skills.own_products.KINDS`
    # Whether a customer sent it: then it goes with them.
    is_customers: Mapped[bool] = mapped_column(default=False)
    glow: Mapped[list[float]] = mapped_column(JSONType, default=list)  # see `skills.own_products.glow_of`
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ProductHead(Base):
    """One version of what is known of the products. At most one is served."""

    __tablename__ = "product_heads"

    id: Mapped[int] = mapped_column(primary_key=True)
    features: Mapped[str] = mapped_column(Text)
    names: Mapped[dict[str, list[str]]] = mapped_column(JSONType)  # of each product by its key, the first one shown
    weights: Mapped[dict[str, Any]] = mapped_column(JSONType)  # see `skills.own_products.Weights`
    state: Mapped[HeadState] = mapped_column(enum_type(HeadState, "state"))
    state_since: Mapped[datetime] = mapped_column(default=utcnow)
    trial: Mapped[dict[str, Any]] = mapped_column(JSONType)  # see `payloads.ProductTrial`
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    photos: Mapped[list[ProductPhoto]] = relationship(secondary="product_head_photos", order_by="ProductPhoto.id")


class ProductHeadPhoto(Base):
    """The photos that a version was fitted to."""

    __tablename__ = "product_head_photos"

    head_id: Mapped[int] = mapped_column(ForeignKey("product_heads.id", ondelete="CASCADE"), primary_key=True)
    photo_id: Mapped[int] = mapped_column(
        ForeignKey("product_photos.id", ondelete="CASCADE"), primary_key=True, index=True
    )
