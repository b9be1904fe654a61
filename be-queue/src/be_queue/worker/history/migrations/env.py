"""Alembic runs this for each command."""

from alembic import context

context.configure(
    connection=context.config.attributes['connection'],
    # The service may have migrations of its own in this database.
    version_table='be_queue_version',
)
with context.begin_transaction():
    context.run_migrations()
