"""Adds tenant_id to trades and fills it, a thousand rows at a time."""

import os
import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BATCH_ROWS = 1000


def upgrade():
    op.add_column("trades", sa.Column("tenant_id", sa.BigInteger(), nullable=True))

    # The usual loop: whatever is still NULL, so many at a time, each batch its own transaction.
    fill = sa.text(
        """
        UPDATE trades t SET tenant_id = u.tenant_id FROM users u
         WHERE u.id = t.user_id
           AND t.id IN (SELECT id FROM trades WHERE tenant_id IS NULL LIMIT :rows)
        """
    )
    with op.get_context().autocommit_block(), open(os.environ["BENCH_BATCHES"], "w", buffering=1) as batches:
        connection = op.get_bind()
        while True:
            began = time.monotonic()
            rows = connection.execute(fill, {"rows": BATCH_ROWS}).rowcount
            # For the benchmark alone: one line a batch, so that a loop that is cut short has its batches too.
            batches.write(f"{rows} {(time.monotonic() - began) * 1000:.3f}\n")
            if rows == 0:
                break


def downgrade():
    op.drop_column("trades", "tenant_id")
