"""Python as it is on macOS before 3.13, for every process with this folder in PYTHONPATH."""

import ctypes  # noqa: F401  (looks at sys.platform itself, for the system that is really there)
import fcntl
import importlib.util
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

MISSING = {
    fcntl: ('F_SETPIPE_SZ', 'F_GETPIPE_SZ', 'F_OFD_SETLK', 'F_OFD_SETLKW'),
    os: (
        *('waitid', 'pidfd_open', 'sched_getaffinity', 'sched_setaffinity', 'pipe2', 'eventfd'),
        *('memfd_create', 'getrandom', 'posix_fadvise', 'posix_fallocate', 'copy_file_range'),
        *('splice', 'setresuid', 'setresgid', 'getresuid', 'getresgid'),
    ),
    select: ('epoll',),
    signal: ('pidfd_send_signal', 'sigtimedwait', 'sigwaitinfo', 'SIGRTMIN', 'SIGRTMAX', 'SIGPWR'),
    socket: ('TCP_USER_TIMEOUT', 'TCP_KEEPIDLE', 'SOCK_CLOEXEC', 'SOCK_NONBLOCK', 'SO_PEERCRED'),
    time: ('CLOCK_BOOTTIME',),
}
for module, names in MISSING.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

# `be_queue.worker.linux` decides once, and alone: libraries would load what only macOS has.
path = Path(__file__).resolve().parents[3] / 'src/be_queue/worker/linux.py'
spec = importlib.util.spec_from_file_location('be_queue.worker.linux', path)
linux = importlib.util.module_from_spec(spec)
platform, sys.platform = sys.platform, 'darwin'
spec.loader.exec_module(linux)
sys.platform = platform
sys.modules['be_queue.worker.linux'] = linux
