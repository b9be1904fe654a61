"""The tables of tasks and of the schedule, and the start of tasks in Celery's table of results.

Versions before this one made the tables without Alembic: what is there already stays.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '0001'
down_revision = None


def upgrade() -> None:
    """Make what is missing."""
    app = context.config.attributes['app']
    there = sa.inspect(op.get_bind())
    results = app.backend.task_cls.__table__
    results.metadata.create_all(op.get_bind())
    if not there.has_table('tasks'):
        op.create_table(
            'tasks',
            sa.Column('task_id', sa.String(155), primary_key=True),
            sa.Column('name', sa.Text, nullable=False),
            sa.Column('queue', sa.Text),
            sa.Column('args', sa.Text),
            sa.Column('kwargs', sa.Text),
            sa.Column('retries', sa.Integer, nullable=False),
            sa.Column('parent_id', sa.Text),
            sa.Column('root_id', sa.Text),
            sa.Column('group_id', sa.Text),
            sa.Column('eta', sa.DateTime(timezone=True)),
            sa.Column('expires', sa.DateTime(timezone=True)),
            sa.Column('origin', sa.Text),
            sa.Column('sent_at', sa.DateTime(timezone=True), nullable=False, index=True),
            sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        )
    if not there.has_table('schedule'):
        op.create_table(
            'schedule',
            sa.Column('name', sa.String(255), primary_key=True),
            sa.Column('last_run_at', sa.DateTime(timezone=True), nullable=False),
        )
    op.add_column('tasks', sa.Column('earlier_attempts', sa.JSON))
    op.add_column(results.name, sa.Column('started_at', sa.DateTime), schema=results.schema)
    for column in ('name', 'queue'):
        op.create_index(f'ix_tasks_{column}_sent_at', 'tasks', [column, 'sent_at'])
    op.create_index('ix_tasks_parent_id', 'tasks', ['parent_id'])
