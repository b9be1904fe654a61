"""A child process of the server: started in a session of its own, and ended as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.linux import die_with_parent

__all__ = ['Child']


@dataclass
class Child:
    """A command that runs beside the others.

    Arguments:
        name: for the log.
        command: the program and its arguments.
        folder: where it runs.
        environment: variables beside our own.
        pass_fds: file descriptors that it inherits.
        stop_signal: asks it to end.
        grace: seconds it then has before it is killed; None is no limit.
        haste: seconds that it has when it is to end at once.
    """

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[int] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float | None = 10.0
    haste: float = 5.0
    _process: subprocess.Popen[bytes] | None = None
    _group_killed: bool = False

    def start(self) -> None:
        """Start the process, out of reach of the terminal's Ctrl-C: we pass signals on."""
        self._process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            pass_fds=self.pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it has not ended."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self.status is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        if self.running:
            os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Kill the process and whatever it started, unless that was done after its end."""
        if self._process is not None and not self._group_killed:
            self._group_killed = self.status is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def describe_end(self) -> str:
        """Return how the process ended, for the log."""
        status = self.status
        if status is None or status >= 0:
            return f'exited with status {status}'
        # Python names the first and the last real-time signal only.
        names = {number.value: number.name for number in signal.Signals}
        return f'was killed by {names.get(-status, f"signal {-status}")}'
