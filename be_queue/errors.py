"""What be_queue raises: every message names the fault, the value and the fix."""

from __future__ import annotations

__all__ = ['BeQueueError', 'MappingError', 'SettingError']


class BeQueueError(Exception):
    """Base of every error that be_queue raises on purpose."""


class MappingError(BeQueueError, ValueError):
    """The queue-task mapping breaks a rule: mend the entry that the message names."""


class SettingError(BeQueueError, ValueError):
    """A setting cannot be used: mend the keyword or variable that the message names."""
