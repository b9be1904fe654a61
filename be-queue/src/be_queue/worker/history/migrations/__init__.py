"""The schema's revisions, for Alembic; `be_queue.worker.history.migrate` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic import op

__all__ = ['create_index']


def create_index(
    name: str, table: str, columns: Sequence[Any], schema: str | None = None, **options: Any
) -> None:
    """Create an index; PostgreSQL lets others write the table meanwhile.

    There it commits what the revision has done before, and starts anew what was interrupted: what
    comes before it in a revision must be able to run twice.

    Arguments:
        options: more of those of Alembic's ``op.create_index``.
    """
    if op.get_bind().dialect.name != 'postgresql':
        op.create_index(name, table, columns, schema=schema, if_not_exists=True, **options)
        return
    with op.get_context().autocommit_block():
        # An interrupted one leaves an index that is not used.
        op.drop_index(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            name, table, columns, schema=schema, postgresql_concurrently=True, **options
        )
