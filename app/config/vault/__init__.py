"""HashiCorp Vault: settings come from there at the start, and hvac logs in there.

| file        | content                                                                |
|-------------|------------------------------------------------------------------------|
| settings.py | `VaultSettings`: where Vault is, how to log in, and what VAULT_SECRETS says |
| source.py   | `VaultSource`: reads those secrets as a source of `Config`             |
| client.py   | an hvac client whose errors fit in one line                            |
| login.py    | the methods to log in                                                  |

hvac is imported only where VAULT_ADDR is set. Every token and secret is made known to the redaction
of logs before it is used.
"""

from app.config.vault.settings import VaultSettings, names
from app.config.vault.source import VaultSource

__all__ = ['VaultSettings', 'VaultSource', 'names']
