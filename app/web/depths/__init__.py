"""How many messages are in each queue and in its dead-letter queue, as the broker says."""

from app.web.depths.asking import Asker, Depth
from app.web.depths.collector import DepthCollector
from app.web.depths.poller import MAX_AGE, DepthPoller

__all__ = ['MAX_AGE', 'Asker', 'Depth', 'DepthCollector', 'DepthPoller']
