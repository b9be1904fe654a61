"""What keeps the server from starting."""

__all__ = ['StartError']


class StartError(Exception):
    """The server cannot start: the message is one line that says why and what to do."""
