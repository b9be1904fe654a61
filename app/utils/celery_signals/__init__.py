"""Your handlers of Celery's signals; the worker's own are connected beside them.

    @signals.task_failure.connect
    def page_somebody(sender, exception, **_):
        ...

Celery keeps weak references, so handlers live at module level.
See https://docs.celeryq.dev/en/stable/userguide/signals.html.
"""
