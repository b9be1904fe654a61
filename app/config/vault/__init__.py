"""HashiCorp Vault: settings come from there at the start, and hvac logs in there.

| file            | content                                                      |
|-----------------|--------------------------------------------------------------|
| settings.py     | `VaultSettings`: where Vault is, and how to log in           |
| secret_paths.py | VAULT_SECRETS: which setting is which field of which secret  |
| source.py       | `VaultSource`: reads those secrets as a source of `Config`   |
| client.py       | an hvac client whose errors fit in one line                  |
| login.py        | the methods to log in                                        |
| aws.py          | the signed request that a login by AWS IAM consists of       |

hvac is imported only where VAULT_ADDR is set. Every token and secret is made known to the redaction
of logs before it is used.
"""

from app.config.vault.secret_paths import names
from app.config.vault.settings import VaultSettings
from app.config.vault.source import VaultSource

__all__ = ['VaultSettings', 'VaultSource', 'names']
