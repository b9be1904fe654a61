"""Changes or drops error reports before they are sent to Sentry."""

from __future__ import annotations

from typing import Any

__all__ = ['before_send']


def before_send(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any] | None:
    """Return the report, changed or not; None drops it.

    Called in the process that reports, before each report is sent; secrets are masked already, and
    are masked once more in what is returned.

    Arguments:
        event: https://develop.sentry.dev/sdk/data-model/event-payloads/
        hint: ``exc_info`` or ``log_record``, where there is one.
    """
    return event
