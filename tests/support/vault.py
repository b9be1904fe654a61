"""What Vault knows and answers, as the documentation of its HTTP API says, as far as we ask."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.vault_database import Database

#: What a request gets: a status and a body, or nothing at all.
Answer = tuple[int, dict[str, Any] | None]

SEALED: Answer = (503, {'errors': ['Vault is sealed']})
DENIED: Answer = (403, {'errors': ['permission denied']})
NOTHING: Answer = (404, {'errors': []})


@dataclass
class Token:
    """A token that was given; times by the monotonic clock, None is never."""

    ttl: float
    ends_at: float | None
    last_end: float | None
    renewable: bool


@dataclass
class Lease:
    """A user of the database."""

    user: str
    token: str
    ttl: float
    ends_at: float
    last_end: float


@dataclass
class Vault:
    """What Vault knows, and how it behaves.

    Arguments:
        database: makes users; None is an engine that is not mounted.
        token_ttl, token_max_ttl: seconds for tokens of a login; 0 is for ever.
        lease_ttl, lease_max_ttl: seconds for users of the database.
    """

    database: Database | None = None
    token_ttl: float = 3600
    token_max_ttl: float = 0
    lease_ttl: float = 3600
    lease_max_ttl: float = 36000
    #: Secrets by mount and path; None is one whose latest version is deleted.
    kv: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    #: What each way to log in takes: a mount below auth/, and a check of the body,
    #: which may raise ValueError with words of its own.
    logins: dict[str, Callable[[dict[str, Any]], bool]] = field(default_factory=dict)
    db_roles: set[str] = field(default_factory=lambda: {'worker'})
    sealed: bool = False
    #: For how many more requests it is sealed.
    sealed_for: int = 0
    #: Whether requests are accepted and never answered, or answered a byte at a time.
    hangs: bool = False
    drips: bool = False
    #: Seconds that each answer takes.
    slowness: float = 0
    #: Paths behind which something is away.
    failing: set[str] = field(default_factory=set)
    #: Paths that no policy allows.
    denied: set[str] = field(default_factory=set)
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    #: Method, path and body of every request, and the headers of the last of each path.
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Every password and token that it has given.
    given: list[str] = field(default_factory=list)
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def url(self) -> str:
        """The value for VAULT_ADDR."""
        return f'http://127.0.0.1:{self.port}'

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(asked == path for _, asked, _ in self.requests)

    def new_token(self, ttl: float = 0, max_ttl: float = 0, *, renewable: bool = True) -> str:
        """Return a token; 0 is for ever."""
        text = f'hvs.{secrets.token_urlsafe(24)}'
        now = time.monotonic()
        with self.lock:
            self.tokens[text] = Token(
                ttl=ttl,
                ends_at=now + ttl if ttl else None,
                last_end=now + max_ttl if max_ttl else None,
                renewable=renewable and bool(ttl),
            )
            self.given.append(text)
        return text

    def revoke(self, token: str) -> None:
        """End a token and its leases."""
        with self.lock:
            self.tokens.pop(token, None)
            for lease_id in [i for i, lease in self.leases.items() if lease.token == token]:
                self.end_lease(lease_id)

    def end_lease(self, lease_id: str) -> None:
        """Drop the user of a lease, with its sessions."""
        with self.lock:
            lease = self.leases.pop(lease_id, None)
            if lease is not None and self.database is not None:
                self.database.drop(lease.user)

    def end_what_is_over(self) -> None:
        """End tokens and leases whose time is over; while it is away, time stands still."""
        with self.lock:
            if self.hangs or self.sealed:
                return
            now = time.monotonic()
            for text, token in list(self.tokens.items()):
                if token.ends_at is not None and token.ends_at <= now:
                    self.revoke(text)
            for lease_id, lease in list(self.leases.items()):
                if lease.ends_at <= now:
                    self.end_lease(lease_id)

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> Answer:
        """Return what Vault answers."""
        with self.lock:
            self.requests.append((method, path, body))
            if self.sealed or self.sealed_for:
                self.sealed_for = max(0, self.sealed_for - 1)
                return SEALED
            self.end_what_is_over()
            if path in self.failing:
                return 500, {'errors': ['1 error occurred:\n\t* failed to connect\n\n']}
            if path.startswith('auth/') and path.endswith('/login'):
                return self._log_in(path, body)
            if token not in self.tokens:
                return DENIED
            if path in self.denied:
                return 403, {'errors': ['1 error occurred:\n\t* permission denied\n\n']}
            steps = {
                ('GET', 'auth/token/lookup-self'): self._look_up,
                ('POST', 'auth/token/renew-self'): self._renew_token,
                ('POST', 'auth/token/revoke-self'): self._revoke_self,
                ('POST', 'sys/leases/renew'): self._renew_lease,
                ('POST', 'sys/leases/revoke'): self._revoke_lease,
            }
            if step := steps.get((method, path)):
                return step(token, body)
            mount, _, role = path.partition('/creds/')
            if role and mount == 'database' and self.database is not None:
                return self._creds(token, role)
            if method == 'GET' and '/data/' in path:
                return self._read(path)
            return 404, {'errors': [f'no handler for route "{path}". route entry not found.']}

    def _log_in(self, path: str, body: dict[str, Any]) -> Answer:
        check = self.logins.get(path.removeprefix('auth/').removesuffix('/login'))
        if check is None:
            return 404, {'errors': [f'no handler for route "{path}". route entry not found.']}
        try:
            good, words = check(body), 'invalid role or secret ID'
        except ValueError as error:
            good, words = False, str(error)
        if not good:
            return 400, {'errors': [words]}
        return 200, self._auth(self.new_token(self.token_ttl, self.token_max_ttl))

    def _auth(self, text: str) -> dict[str, Any]:
        token = self.tokens[text]
        left = token.ends_at - time.monotonic() if token.ends_at is not None else 0
        return _envelope(
            auth={
                'client_token': text,
                'accessor': uuid.uuid4().hex,
                'policies': ['default', 'worker'],
                'token_policies': ['default', 'worker'],
                'metadata': {'role_name': 'worker'},
                'lease_duration': round(left),
                'renewable': token.renewable,
                'entity_id': str(uuid.uuid4()),
                'token_type': 'service',
                'orphan': True,
            }
        )

    def _look_up(self, token: str, _: dict[str, Any]) -> Answer:
        known = self.tokens[token]
        left = known.ends_at - time.monotonic() if known.ends_at is not None else 0
        data = {
            'id': token,
            'ttl': round(left),
            'creation_ttl': round(known.ttl),
            'renewable': known.renewable,
            'type': 'service',
            'policies': ['default', 'worker'],
        }
        return 200, _envelope(data=data)

    def _renew_token(self, text: str, _: dict[str, Any]) -> Answer:
        token = self.tokens[text]
        if not token.renewable:
            return 400, {'errors': ['lease is not renewable']}
        token.ends_at = min(time.monotonic() + token.ttl, token.last_end or float('inf'))
        return 200, self._auth(text)

    def _revoke_self(self, token: str, _: dict[str, Any]) -> Answer:
        self.revoke(token)
        return 204, None

    def _renew_lease(self, _: str, body: dict[str, Any]) -> Answer:
        increment = body.get('increment', 0)
        if not isinstance(increment, int):
            # It reads the text of the number as a time of Go's, and 4.0 has no unit.
            return 400, {'errors': [f'error converting input {increment} for field "increment"']}
        lease = self.leases.get(body.get('lease_id', ''))
        if lease is None:
            return 400, {'errors': ['lease not found']}
        lease.ends_at = min(time.monotonic() + lease.ttl, lease.last_end)
        left = round(lease.ends_at - time.monotonic())
        if self.database is not None:
            self.database.prolong(lease.user, left)
        return 200, _envelope(lease_id=body['lease_id'], renewable=True, lease_duration=left)

    def _revoke_lease(self, _: str, body: dict[str, Any]) -> Answer:
        self.end_lease(body['lease_id'])
        return 204, None

    def _creds(self, token: str, role: str) -> Answer:
        assert self.database is not None
        if role not in self.db_roles:
            return 400, {'errors': [f'unknown role: {role}']}
        user, password = self.database.make(self.lease_ttl)
        self.given.append(password)
        lease_id = f'database/creds/{role}/{uuid.uuid4().hex}'
        now = time.monotonic()
        self.leases[lease_id] = Lease(
            user, token, self.lease_ttl, now + self.lease_ttl, now + self.lease_max_ttl
        )
        return 200, _envelope(
            lease_id=lease_id,
            renewable=True,
            lease_duration=round(self.lease_ttl),
            data={'username': user, 'password': password},
        )

    def _read(self, path: str) -> Answer:
        mount, _, name = path.partition('/data/')
        key = f'{mount}/{name}'
        if key not in self.kv:
            return NOTHING
        data = self.kv[key]
        metadata = {
            'created_time': '2024-01-01T00:00:00.000000000Z',
            'custom_metadata': None,
            'deletion_time': '2024-01-02T00:00:00.000000000Z' if data is None else '',
            'destroyed': False,
            'version': 1,
        }
        answer = _envelope(data={'data': data, 'metadata': metadata})
        return (404 if data is None else 200), answer


def _envelope(**parts: Any) -> dict[str, Any]:
    return {
        'request_id': str(uuid.uuid4()),
        'lease_id': '',
        'renewable': False,
        'lease_duration': 0,
        'data': None,
        'wrap_info': None,
        'warnings': None,
        'auth': None,
        **parts,
    }
