"""Event logs for Treasure Data: ``td.log('page_views', {'page': '/'})``, in a task or elsewhere."""

from be_queue.worker.fluent import td

__all__ = ['td']
