from __future__ import annotations

from app.utils.celery_signals import labels
from app.utils.celery_signals.labels import MOST_CLASSES, exception_label


def test_classes_of_exceptions_are_of_a_bounded_number(monkeypatch) -> None:
    monkeypatch.setattr(labels, '_classes', set())
    many = [type(f'Error{n}', (Exception,), {})() for n in range(MOST_CLASSES + 10)]
    shown = [exception_label(error) for error in many]
    assert shown[0] == 'Error0'
    assert len(set(shown)) == MOST_CLASSES + 1
    assert shown[-1] == 'other'
    # Those that were seen keep their names.
    assert [exception_label(error) for error in many] == shown
