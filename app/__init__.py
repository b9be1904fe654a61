"""The worker."""

from app import celery_app  # noqa: F401  (before any task is imported)
