"""Names inside other libraries that this project leans on: found in its sources, and listed here.

No library promises them. When one moves, its test fails with its name: look at the places that use
it before the new version goes into the lock file. The fewer, the better.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import billiard.common
import billiard.pool
import celery
import celery.exceptions
import celery.utils.time
import pytest
from botocore.client import BaseClient
from botocore.signers import RequestSigner
from celery import Celery, Task, _state
from celery.app import trace
from celery.app.amqp import AMQP, Queues
from celery.backends.base import Backend
from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from celery.concurrency.prefork import TaskPool
from celery.worker import state as worker_state
from celery.worker.consumer import Consumer
from celery.worker.request import Request as WorkerRequest
from fluent.asyncsender import FluentSender
from kombu.asynchronous import Hub
from kombu.asynchronous.http.curl import CurlClient
from kombu.transport import SQS
from sentry_sdk.transport import HttpTransport

ROOT = Path(__file__).parents[3]
OURS = ('app', 'be_queue')
FOLDERS = ('app', 'be-queue/src/be_queue')

#: Names that begin with an underscore: every one in use, and no other.
PRIVATE: dict[Any, str] = {
    AMQP: '_producer_pool',
    Backend: '_ensure_retryable',
    BaseClient: '_request_signer',
    Celery: '_pool',
    CurlClient: '_closed _set_timeout _timeout_check',
    DatabaseBackend: '_store_result _update_result',
    FluentSender: '_close _send_data',
    HttpTransport: '_get_pool_options',
    Hub: '_ready',
    RequestSigner: '_credentials',
    SQS.Channel: '_create_queue _fanout _inplace_augment_message _lookup _message_to_python '
    '_new_boto_client _new_queue _predefined_queue_clients _queue_cache '
    '_receive_message _resolve_delay_seconds _restore _schedule_queue _sqs _update_queue_cache',
    TaskPool: '_pool',
    _state: '_get_active_apps',
    celery: '_state',
}
#: Names that no documentation has; these are listed by hand.
UNDOCUMENTED: dict[Any, str] = {
    Backend: 'on_backend_retryable_error prepare_exception',
    Celery: 'backend_cls',
    Consumer: 'create_task_handler on_close update_strategies',
    DatabaseBackend: 'exception_safe_to_retry task_cls',
    Hub: 'call_repeatedly',
    Queues: 'deselect',
    SQS.QoS: 'is_backoff_task',
    SessionManager: 'prepare_models',
    Task: 'Request __trace__',
    WorkerRequest: 'execute_using_pool message reject',
    billiard.common: 'terminate_handler_fired',
    billiard.pool: 'EX_RECYCLE soft_timeout_sighandler',
    celery.exceptions: 'get_pickleable_exception',
    celery.utils.time: 'maybe_iso8601 maybe_make_aware',
    trace: 'get_pickleable_exception trace_ok_t',
    worker_state: 'active_requests reserved_requests should_stop should_terminate task_ready',
}
LISTED = [
    (owner, name)
    for group in (PRIVATE, UNDOCUMENTED)
    for owner, names in group.items()
    for name in names.split()
]


def sources_of(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


def is_private(name: str) -> bool:
    # os._exit is documented.
    return name[:1] == '_' and name not in ('_', '_exit') and not name.endswith('__')


def is_own(node: ast.expr) -> bool:
    """Return whether this is ``self``, ``cls`` or ``super()``."""
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in ('self', 'cls', 'super')


def of_other_objects(tree: ast.Module) -> Iterator[str]:
    """Yield attributes of other objects, names that are imported, and texts given to getattr()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not is_own(node.value):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, 'id', '').endswith('attr'):
            yield from (a.value for a in node.args if isinstance(getattr(a, 'value', 0), str))


def of_base_classes(tree: ast.Module) -> Iterator[str]:
    """Yield names that a class shares with its base class in a library."""
    names: dict[str, Any] = {}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in imports:
        if not (getattr(node, 'module', None) or node.names[0].name).startswith('app'):
            exec(compile(ast.Module([node], []), 'imports', 'exec'), names)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            used = {
                getattr(inner, 'attr', None) or getattr(inner, 'name', None) or inner.id
                for inner in ast.walk(node)
                if isinstance(inner, ast.FunctionDef)
                or (isinstance(inner, ast.Attribute) and is_own(inner.value))
                or (isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store))
            }
            for base in node.bases:
                yield from used & names_in(base, names)


def names_in(base: ast.expr, names: dict[str, Any]) -> set[str]:
    """Return the attributes that a base class and its own bases have or use, but for ours."""
    try:
        base_class = eval(compile(ast.Expression(base), 'base', 'eval'), names)
    except (NameError, AttributeError):  # it is of this module
        return set()
    found = set()
    for cls in getattr(base_class, '__mro__', ()):
        if cls.__module__.partition('.')[0] not in {*sys.stdlib_module_names, *OURS}:
            found |= vars(cls).keys()
            codes = (getattr(value, '__code__', None) for value in vars(cls).values())
            found.update(*(code.co_names for code in codes if code))
    return found


def private_names() -> dict[str, list[str]]:
    """Return the files of each private name of a library."""
    found: dict[str, list[str]] = {}
    for path in sources_of(*FOLDERS):
        tree = ast.parse(path.read_text())
        for name in {*of_other_objects(tree), *of_base_classes(tree)}:
            if is_private(name):
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(('owner', 'name'), LISTED, ids=[f'{o.__name__}.{n}' for o, n in LISTED])
def test_there_is(owner: Any, name: str) -> None:
    code = getattr(owner.__init__, '__code__', None)  # where attributes of an instance are set
    assert hasattr(owner, name) or name in code.co_names


def test_every_private_name_is_listed_and_no_other() -> None:
    found, listed = private_names(), {*' '.join(PRIVATE.values()).split()}
    assert {name: files for name, files in found.items() if name not in listed} == {}
    assert listed - found.keys() == set()


def test_every_undocumented_name_is_in_use() -> None:
    sources = ''.join(path.read_text() for path in sources_of(*FOLDERS))
    names = ' '.join(UNDOCUMENTED.values()).split()
    assert [name for name in names if not re.search(rf'\b{name}\b', sources)] == []


def test_the_app_imports_from_be_queue_only_what_its_modules_export() -> None:
    imports = [imported for path in sources_of('app', 'examples') for imported in imports_of(path)]
    assert [
        f'{module}.{name}'
        for module, name in imports
        if module.startswith('be_queue')
        and name not in import_module(module).__all__
        and find_spec(f'{module}.{name}') is None
    ] == []


def test_the_library_imports_nothing_of_the_app_and_its_core_nothing_of_the_worker() -> None:
    for path in sources_of('be-queue/src/be_queue'):
        # be_queue.testing starts workers; the command says which extra it needs for what.
        parts = path.relative_to(ROOT / FOLDERS[1]).parts
        is_core = not {'worker', 'testing', 'cli'} & set(parts)
        for module, name in imports_of(path):
            assert module.partition('.')[0] != 'app', path
            if is_core:
                assert not f'{module}.{name}'.startswith('be_queue.worker'), path


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of each ``from module import name``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or '', alias.name) for alias in node.names)
