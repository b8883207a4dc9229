"""sessions of browsers with the widget; whether a customer is verified, and by whom

Customers whom a machine named are known. Whoever only typed an address in the widget is not.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "widget_sessions"
down_revision = "mails"


def upgrade() -> None:
    verified_by = sa.Enum(
        "site", "code", "api", name="verified_by", native_enum=False, create_constraint=True, length=40
    )
    with op.batch_alter_table("customers") as customers:
        customers.add_column(sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
        customers.add_column(sa.Column("verified_by", verified_by, nullable=True))
    op.execute(
        "UPDATE customers SET verified_by = 'api', verified_at = created_at WHERE external_id IS NOT NULL OR "
        "id IN (SELECT customer_id FROM conversations WHERE channel = 'api')"
    )
    op.create_table(
        "widget_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("inbox_id", sa.Integer(), nullable=False),
        sa.Column("admitted_id", sa.Integer(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        _reference("widget_sessions", "customer_id", "customers", "CASCADE"),
        _reference("widget_sessions", "inbox_id", "inboxes", "CASCADE"),
        _reference("widget_sessions", "admitted_id", "conversations", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_widget_sessions"),
        sa.UniqueConstraint("public_id", name="uq_widget_sessions_public_id"),
        sa.UniqueConstraint("token_hash", name="uq_widget_sessions_token_hash"),
    )
    for column in ("customer_id", "inbox_id", "admitted_id", "previous_hash"):
        op.create_index(f"ix_widget_sessions_{column}", "widget_sessions", [column])


def downgrade() -> None:
    op.drop_table("widget_sessions")
    with op.batch_alter_table("customers") as customers:
        customers.drop_constraint(op.f("ck_customers_verified_by"), type_="check")
        customers.drop_column("verified_by")
        customers.drop_column("verified_at")


def _reference(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}_{target}", ondelete=ondelete)
