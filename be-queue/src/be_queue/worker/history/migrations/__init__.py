"""The schema's revisions, for Alembic; `be_queue.worker.history.migrate` runs them."""
