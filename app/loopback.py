"""HTTP with this machine: past the environment's proxy, which would not find its servers."""

from __future__ import annotations

from urllib.request import ProxyHandler, build_opener

__all__ = ['open_url']

#: As `urllib.request.urlopen`.
open_url = build_opener(ProxyHandler({})).open
