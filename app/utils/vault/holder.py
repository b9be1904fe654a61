"""Holds a login of the result database in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress

from app.config.configuration.sections import VaultSettings
from app.config.vault.client import Client
from app.config.vault.errors import AwayError, VaultError
from app.config.vault.login import WAYS, way
from app.utils.vault.leases import Leases
from app.utils.vault.shared import SharedLogin
from app.utils.vault.trouble import Trouble

__all__ = ['Holder']

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the database has refused the login.
LOOK = 0.5
#: Seconds for the end, all in all.
END = 3.0


class Holder:
    """Holds a token and a login.

    Arguments:
        settings: where Vault is, and the role.
        shared: where the login goes.
        pid: the process that it belongs to.
    """

    def __init__(self, settings: VaultSettings, shared: SharedLogin, pid: int) -> None:
        self._settings = settings
        self._pid = pid
        self._leases = Leases(Client(settings), shared)
        self._trouble = Trouble()
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name='vault', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_tried(self, seconds: float) -> None:
        """Wait until there is a login, or there is none after a first try."""
        self._tried.wait(seconds)

    def stop(self) -> None:
        """End the thread, and give back what can be: it takes `END` seconds at most."""
        if self._pid != os.getpid():
            return
        self._stopping.set()
        began = time.monotonic()
        self._thread.join(END / 2)
        left = END - (time.monotonic() - began)
        try:
            self._leases.give_back(Client(self._settings, patience=left))
        except VaultError as error:
            logger.info('logins of the result database end by themselves: %s', error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self._leases.step()
                self._trouble.ended()
            except VaultError as error:
                wait = self._trouble.failed(error, self._hint())
            except Exception as error:  # noqa: BLE001  (the thread must go on)
                unknown = AwayError(f'no usable answer ({type(error).__name__})')
                wait = self._trouble.failed(unknown, self._hint())
            self._tried.set()
            self._sleep(wait)

    def _hint(self) -> str:
        names = ['VAULT_ADDR', 'VAULT_DB_ROLE']
        with suppress(VaultError):
            names += [name.upper() for name in WAYS[way(self._settings)]]
        left = self._leases.ends_at - time.monotonic()
        then = f'ends in {left:.0f} s' if left > 0 else 'is missing'
        return (
            f'{", ".join(names)}; the login of the result database {then}, and without one '
            'finished tasks wait for it'
        )

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopping.wait(min(LOOK, left)):
                return
            if self._leases.must_replace() and not self._trouble.lasts:
                return
