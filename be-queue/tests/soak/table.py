"""The counts of a run, as lines of one width."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tests.support.counted import Tally

__all__ = ['HEAD', 'Row']

_COUNTS = [field.name.replace('_', ' ') for field in fields(Tally)]
_WIDTH = 44

HEAD = f'{"":{_WIDTH}}' + ''.join(f'{name:>11}' for name in (*_COUNTS, 'bound'))


@dataclass(frozen=True)
class Row:
    """What one part of the run found.

    Arguments:
        what: the fault.
        tally: what became of the tasks.
        bound: the most duplicates that the fault explains; what was in flight.
        note: what else was measured.
    """

    what: str
    tally: Tally
    bound: int
    note: str = ''

    @property
    def fault(self) -> str:
        """What should not have been; '' when all is well."""
        if self.tally.lost or self.tally.dead:
            return f'{self.tally.lost} lost, {self.tally.dead} in the dead-letter queue'
        if self.tally.duplicates > self.bound:
            return f'{self.tally.duplicates} duplicates, at most {self.bound} are explained'
        return ''

    def __str__(self) -> str:
        counts = (*(getattr(self.tally, field.name) for field in fields(Tally)), self.bound)
        line = f'{self.what:{_WIDTH}}' + ''.join(f'{count:>11}' for count in counts)
        return '  '.join(
            part for part in (line, self.note, self.fault and f'! {self.fault}') if part
        )
