"""A client of Vault: ``with logged_in() as vault: vault.secrets.transit.decrypt_data(...)``.

For what a setting that comes from Vault (VAULT_SECRETS) does not do.
"""

from be_queue.worker.vault import logged_in

__all__ = ['logged_in']
