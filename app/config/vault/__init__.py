"""HashiCorp Vault: settings come from there at the start, and logins are asked for there.

| file        | what                                                     |
|-------------|----------------------------------------------------------|
| source.py   | Vault as a source of `Config`                            |
| starting.py | tries, bounds and words of what is asked at the start    |
| client.py   | requests, each in a bounded time                         |
| session.py  | follows redirects to where a login may be seen           |
| answers.py  | what an answer holds, or why it is none                  |
| login.py    | the ways to log in; aws.py: the signed request of one    |
| kv.py       | reads secrets                                            |

hvac is imported only where VAULT_ADDR is set. What it reads is kept in `app.redaction`.
"""
