"""Logs: one handler for the lines of all libraries, as JSON or for a person's eyes, on stderr.

| file          | what                                                                 |
|---------------|----------------------------------------------------------------------|
| root.py       | the handler, the levels, and which format it is                      |
| line.py       | what a line says: message, fields, exception                         |
| plain.py      | what JSON can hold of a field, and how much                          |
| context.py    | which task a line is about                                           |
| json_lines.py | a line as JSON                                                       |
| console.py    | a line for a person                                                  |
| writing.py    | writes each line whole, beside other processes that write            |
| printed.py    | makes lines of what is printed, where each line must be JSON         |
| uncaught.py   | makes lines of errors that nobody catches                            |
| worker.py     | in the place of Celery's own logging                                 |
| gunicorn.py   | in the place of Gunicorn's                                           |
"""

from app.utils.logs.context import about
from app.utils.logs.root import cannot_start, setup

__all__ = ['about', 'cannot_start', 'setup']
