"""The tables of tasks and of the schedule, and the start of tasks in Celery's table of results.

Versions before this one made the tables without Alembic: what is there already stays.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '0001'
down_revision = None


def upgrade() -> None:
    """Make what is missing."""
    results = context.config.attributes['results']
    results.metadata.create_all(op.get_bind())
    there = sa.inspect(op.get_bind())
    if not there.has_table('tasks'):
        op.create_table(
            'tasks',
            sa.Column('task_id', sa.String(155), primary_key=True),
            sa.Column('name', sa.Text, nullable=False),
            sa.Column('queue', sa.Text),
            sa.Column('args', sa.Text),
            sa.Column('kwargs', sa.Text),
            sa.Column('retries', sa.Integer, nullable=False),
            sa.Column('earlier_attempts', sa.JSON),
            sa.Column('parent_id', sa.Text),
            sa.Column('root_id', sa.Text),
            sa.Column('group_id', sa.Text),
            sa.Column('eta', sa.DateTime(timezone=True)),
            sa.Column('expires', sa.DateTime(timezone=True)),
            sa.Column('origin', sa.Text),
            sa.Column('sent_at', sa.DateTime(timezone=True), nullable=False, index=True),
            sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        )
    elif not _has_column(there, 'tasks', 'earlier_attempts'):
        op.add_column('tasks', sa.Column('earlier_attempts', sa.JSON))
    if not there.has_table('schedule'):
        op.create_table(
            'schedule',
            sa.Column('name', sa.String(255), primary_key=True),
            sa.Column('last_run_at', sa.DateTime(timezone=True), nullable=False),
        )
    if not _has_column(there, results.name, 'started_at', results.schema):
        op.add_column(results.name, sa.Column('started_at', sa.DateTime), schema=results.schema)


def _has_column(there: sa.Inspector, table: str, name: str, schema: str | None = None) -> bool:
    return name in [column['name'] for column in there.get_columns(table, schema)]
