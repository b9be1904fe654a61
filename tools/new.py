"""Turns this template into a service: make new NAME=thumbnailer [DEMO=no].

It renames the service everywhere, deletes the template's own files, and with DEMO=no the demo tasks
too. It checks everything before it writes the first file; `git diff` shows the changes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = 'python-backend-worker-template'
#: Queue names are {username}-local-{NAME}-{task}, of 80 characters at most; so are metrics' names.
NAME = re.compile(r'[a-z](-?[a-z0-9]){1,39}')
#: Only `make upgrade` changes the library.
LIBRARY = 'be-queue/'

#: Folders and files that a service does not need.
TEMPLATES_OWN = [
    'be-queue/benchmarks/',
    'be-queue/tests/',
    'CHANGELOG.md',
    'LICENSE',
    'SECURITY.md',
    'library-requirements.txt',
    'tests/template/',
    'tools/new.py',
    'tools/service.md',
]
#: Blocks between these lines are deleted, and the parts below replaced: file, part, replacement.
BEGIN, END = '# template: begin', '# template: end'
TEMPLATES_PARTS = [
    ('Makefile', ' library:main,dev,library', ''),
    ('Dockerfile', ', "--ignore=tests/template"', ''),
    ('pyproject.toml', '"be-queue/src/be_queue", ', ''),
    ('pyproject.toml', 'mypy_path = "be-queue/src"\n', ''),
]
AFTERWARDS = """
.PHONY: new
new:
\t@echo 'make new: this is the service NAME already' && false
"""

DEMO = ['examples/', 'tests/test_tasks.py', 'tests/test_worker.py']
#: Parts of files that mention the demo.
DEMO_PARTS = [
    ('Dockerfile', 'COPY examples examples\n', ''),
    ('pyproject.toml', '"examples", ', ''),
    *(
        (
            'deploy/kubernetes/overlays/prod/scaling.yaml',
            f"""    - type: aws-sqs-queue
      authenticationRef: {{name: {TEMPLATE}}}
      metadata:
        queueURL: prod-{TEMPLATE}-{task}
        awsRegion: us-west-2
        queueLength: '{length}'
        scaleOnInFlight: 'true'
""",
            '',
        )
        for task, length in {'add': 100, 'retry-demo': 100, 'slow': 4}.items()
    ),
    ('docs/observability.md', '; `examples/td` has both, and what Fluentd needs', ''),
    ('docs/how-to/delete-an-integration.md', ', `examples/td`', ''),
    (
        'docs/observability.md',
        """With an agent at `localhost`, this sends a trace to look at:

```text
.venv/bin/python -m examples.client --trace
```

""",
        '',
    ),
    (
        'docker-compose.yml',
        """# Send it tasks from a container, or from this machine:
#
#   docker-compose run --rm client --count 100
#   USERNAME=${USER:-worker} RESULT_DB_HOST=127.0.0.1 .venv/bin/python -m examples.client
#
""",
        '',
    ),
    (
        'docker-compose.yml',
        """  client:
    <<: *worker
    profiles: [client]
    entrypoint: [python, -m, examples.client]
    depends_on:
      worker:
        condition: service_healthy

""",
        '',
    ),
]
WITHOUT_DEMO = {
    'app/tasks/tasks.py': '''"""The tasks: the second file to edit.

Each needs an entry in app/config/queues.py:

    @shared_task(base=ExponentialBackoffTask, name='thumbnail')
    def thumbnail(url: str) -> str: ...

with ``from celery import shared_task`` and a retry policy of app/tasks/base_task.py.
"""
''',
    'app/config/queues.py': '''"""This worker's queue-task mapping: the first file to edit.

Producers need the same entries. Names on SQS are ``{env}-{queue_name}``, and locally
``{username}-{env}-{queue_name}``.

    Queue(queue_name='NAME-thumbnail', task='thumbnail'),

with ``from be_queue import Queue, Queues``.
"""

from be_queue import Queues

QUEUES = Queues([])
''',
}


class NewError(Exception):
    """Why nothing was changed, and what to do."""


def main(name: str, demo: str) -> str:
    """Change the files; return what to do next. Raises `NewError`, and then nothing has changed."""
    if name == TEMPLATE or not NAME.fullmatch(name):
        raise NewError(
            f'NAME={name}: must be 2 to 40 lower-case letters, digits and single hyphens, '
            'beginning with a letter: make new NAME=thumbnailer'
        )
    if demo not in ('', 'yes', 'no'):
        raise NewError(f'DEMO={demo}: must be yes (the default) or no')
    if git('status', '--porcelain'):
        raise NewError('files have changes that are not committed: commit or stash them first')
    names = git('ls-files', '-z').split('\0')[:-1]
    removed = TEMPLATES_OWN + (DEMO if demo == 'no' else [])
    staying = [file for file in names if not file.startswith(tuple(removed))]
    texts = {file: text for file in staying if (text := read(file)) is not None}
    without(TEMPLATES_PARTS, texts)
    if demo == 'no':
        without(DEMO_PARTS, texts)
        texts |= WITHOUT_DEMO
    changed = {
        file: renamed(without_blocks(text), name)
        for file, text in texts.items()
        if not file.startswith(LIBRARY)
    }
    changed['Makefile'] += AFTERWARDS.replace('NAME', name)
    changed['README.md'] = renamed((ROOT / 'tools' / 'service.md').read_text(), name)

    for file, text in changed.items():
        (ROOT / file).write_text(text)
    for file in set(names) - set(staying):
        (ROOT / file).unlink()
    for folder in sorted({ROOT / file for file in removed}, reverse=True):
        remove_empty(folder)
    return f'This is {name} now. Look at it (git diff), commit it, and go on with README.md.'


def without(parts: list[tuple[str, str, str]], texts: dict[str, str]) -> None:
    """Replace parts of files: file, part, replacement."""
    for file, part, replacement in parts:
        if part not in texts.get(file, ''):
            raise NewError(f'{file} is no longer that of the template: it has no {part!r}')
        texts[file] = texts[file].replace(part, replacement)


def without_blocks(text: str) -> str:
    """Return a text without the blocks that are the template's own."""
    # With the empty line before it.
    block = rf'((?<=\n)\n)?^ *{BEGIN}\n.*?^ *{END}\n'
    return re.sub(block, '', text, flags=re.MULTILINE | re.DOTALL)


def renamed(text: str, name: str) -> str:
    """Return a text with the service's name for the template's."""
    for template in (TEMPLATE, TEMPLATE.replace('-', '_')):
        text = text.replace(template, name if '-' in template else name.replace('-', '_'))
    return text.replace("'NAME-", f"'{name}-")


def read(file: str) -> str | None:
    """Return a file's text; None for an image and the like."""
    try:
        return (ROOT / file).read_text()
    except UnicodeDecodeError:
        return None


def remove_empty(folder: Path) -> None:
    """Remove a folder in which only compiled Python is left."""
    if folder.is_dir():
        for path in sorted(folder.rglob('*'), reverse=True):
            if path.suffix == '.pyc':
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if not any(folder.iterdir()):
            folder.rmdir()


def git(*arguments: str) -> str:
    """Return what git says; raises `NewError` where there is no repository."""
    try:
        ended = subprocess.run(
            ['git', *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise NewError(
            'this works in a git repository: git init, git add --all, git commit'
        ) from None
    return ended.stdout


if __name__ == '__main__':
    try:
        print(main(*sys.argv[1:]))  # noqa: T201
    except NewError as error:
        sys.exit(f'make new: {error}')
