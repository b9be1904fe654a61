"""The indexes that the lists of tasks read."""

import sqlalchemy as sa
from alembic import context, op

from be_queue.worker.history.migrations import create_index

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    """Create them."""
    results = context.config.attributes['results']
    for column in ('name', 'queue'):
        create_index(f'ix_tasks_{column}_sent_at', 'tasks', [column, 'sent_at'])
    has_parent = sa.text('parent_id IS NOT NULL')
    create_index(
        'ix_tasks_parent_id_sent_at',
        'tasks',
        ['parent_id', 'sent_at'],
        postgresql_where=has_parent,
        sqlite_where=has_parent,
    )
    create_index(
        f'ix_{results.name}_rare_states',
        results.name,
        ['status', 'id'],
        schema=results.schema,
        postgresql_where=sa.text("status IN ('FAILURE', 'RETRY', 'REVOKED')"),
    )
    indexes = sa.inspect(op.get_bind()).get_indexes(results.name, results.schema)
    if not any(index['column_names'][0] == 'date_done' for index in indexes):
        # Celery makes it with the table since 5.7.
        create_index(
            f'ix_{results.name}_date_done', results.name, ['date_done'], schema=results.schema
        )
