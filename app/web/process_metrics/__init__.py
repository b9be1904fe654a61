"""The metrics of all processes, the dead ones' folded together.

prometheus_client keeps the metrics of each process in files of its own, and those of a process that
has ended for ever, for its counts still count. A worker that recycles its pool's processes would
have more of them every hour, and a scrape reads them all.
"""

from app.web.process_metrics.collector import FOLD_INTERVAL, ProcessCollector

__all__ = ['FOLD_INTERVAL', 'ProcessCollector']
