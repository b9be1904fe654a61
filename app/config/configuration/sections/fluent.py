"""Event logs: app/utils/fluent."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from app.config.configuration import addresses

__all__ = ['TD_NAME', 'TD_NAME_RULE', 'FluentSettings']

#: Names of databases and tables. Treasure Data's documentation once said 255 characters and now
#: says 128. See "Naming Requirements and Restrictions for Treasure Data Entities" there.
TD_NAME = re.compile(r'[a-z0-9_]{3,128}')
TD_NAME_RULE = "3 to 128 lower-case letters, digits and '_', for example page_views"


class FluentSettings(BaseSettings):
    """A server of Fluentd's forward protocol, which passes events on to Treasure Data."""

    #: Takes event logs; unset switches them off.
    fluent_host: str | None = None
    fluent_port: Annotated[int, Field(ge=1, le=65535)] = 24224
    #: The Treasure Data database of the tables.
    td_database: Annotated[str | None, Field(validate_default=True)] = None
    #: Room for events that wait for the server, in each process; beyond it, the oldest are dropped.
    #: In bytes, of which each event counts 1,024.
    fluent_buffer: Annotated[int, Field(ge=4096)] = 4 * 1024 * 1024

    @field_validator('fluent_host')
    @classmethod
    def _legal_fluent_host(cls, text: str | None) -> str | None:
        if text:
            addresses.check_ipv4_host(text)
        return text

    @field_validator('td_database')
    @classmethod
    def _legal_td_database(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None and info.data.get('fluent_host'):
            raise ValueError('set, since FLUENT_HOST is: ' + TD_NAME_RULE)
        if text is not None and not TD_NAME.fullmatch(text):
            raise ValueError(TD_NAME_RULE)
        return text
