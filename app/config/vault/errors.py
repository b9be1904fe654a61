"""Why Vault gave no usable answer."""

from __future__ import annotations

__all__ = [
    'AddressError',
    'AwayError',
    'DeniedError',
    'FailingError',
    'LoginError',
    'MissingError',
    'RefusedError',
    'SlowError',
    'VaultError',
]


class VaultError(Exception):
    """Base of what is raised here: the text is the reason, without any secret."""

    #: What was asked for, below ``/v1/``; '' for what is no answer to a request.
    path = ''


class AwayError(VaultError):
    """Nobody answers, or Vault is sealed or overloaded: another try may help."""


class SlowError(AwayError):
    """Answers came in time, but all of them together took too long."""


class FailingError(AwayError):
    """Status 500: Vault is there, and something behind it is not."""


class DeniedError(VaultError):
    """Status 403: the token is wrong or has ended, or its policy does not allow the path."""


class MissingError(VaultError):
    """Status 404: nothing is at the path, or its latest version is deleted."""


class RefusedError(VaultError):
    """The request or its answer makes no sense to the other side."""


class AddressError(VaultError):
    """What answers is not Vault, or sends us where a login must not go."""


class LoginError(VaultError):
    """The login is refused, or its settings are incomplete: the text names them."""
