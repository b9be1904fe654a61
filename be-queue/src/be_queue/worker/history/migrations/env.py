"""Alembic runs this for each command."""

from alembic import context

from be_queue.worker.history.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes['connection'],
    version_table=VERSION_TABLE,
    # For `create_index`, which commits what came before it.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
