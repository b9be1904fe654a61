"""Replaces be-queue/ by that of another release of the template: ``make upgrade``.

From the root of the service, with Git and this file alone:

    python3 tools/upgrade.py 0.3.0 https://git.example/the-template.git
    python3 tools/upgrade.py 0.3.0 be_queue-0.3.0-py3-none-any.whl
"""

# ruff: noqa: T201  (it prints for the person who started it)

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / 'be-queue'
#: What a release replaces. Anything else in be-queue/ stays, such as the template's own tests.
PARTS = ('src', 'pyproject.toml', 'README.md', 'CHANGELOG.md', 'LICENSE')


def git(*arguments: str | Path) -> str:
    """Run Git in the service's root and return its output; stop with its error."""
    ended = subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        fatal = re.search('^fatal: .*', ended.stderr, re.MULTILINE)
        sys.exit(f'git {arguments[0]}: {fatal[0] if fatal else ended.stderr.strip()}')
    return ended.stdout


def number(version: str) -> tuple[int, ...]:
    """Return ``(0, 10, 2)`` for ``'0.10.2'``."""
    return tuple(map(int, version.split('.')))


def version_of(library: Path) -> str:
    """Return the version in a library's pyproject.toml."""
    text = (library / 'pyproject.toml').read_text()
    found = re.search(r'^version = "(\d+\.\d+\.\d+)"$', text, re.MULTILINE)
    return found[1] if found else sys.exit('be-queue/pyproject.toml has no version like 0.3.0')


def from_git(source: str, version: str, scratch: Path) -> Path:
    """Return the folder of the library at the tag ``v{version}``."""
    tags = re.findall(r'refs/tags/v(\d+\.\d+\.\d+)$', git('ls-remote', source), re.MULTILINE)
    if version not in tags:
        there = ', '.join(f'v{tag}' for tag in sorted(tags, key=number)) or 'none'
        sys.exit(f'{source} has no tag v{version}; its tags: {there}')
    git('clone', '--quiet', '--depth=1', f'--branch=v{version}', source, scratch / 'clone')
    return scratch / 'clone' / 'be-queue'


def from_wheel(wheel: str, scratch: Path) -> Path:
    """Return the folder of the library, unpacked from its wheel."""
    release = scratch / 'wheel'
    try:
        zipfile.ZipFile(wheel).extractall(release / 'src')
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(f'cannot unpack {wheel}: {error}')
    for info in (release / 'src').glob('be_queue-*.dist-info'):
        for file in info.glob('licenses/*'):
            file.rename(release / file.name)
        shutil.rmtree(info)
    return release


def swap(new: Path, old: Path) -> None:
    """Move be-queue/ to ``old`` and ``new`` to be-queue/, and relock; or change nothing."""
    locks = [*ROOT.glob('poetry.lock'), *ROOT.glob('*-requirements.txt')]
    before = {path: path.read_bytes() for path in locks}
    LIBRARY.rename(old)
    try:
        new.rename(LIBRARY)
        if not shutil.which('poetry'):
            print('Poetry is not on the PATH: run `make lock` where it is.')
        elif subprocess.run(['make', '--no-print-directory', 'lock'], cwd=ROOT).returncode:
            sys.exit('make lock failed, see above: be-queue/ and the lock files are as before')
    except BaseException:
        if LIBRARY.exists():
            LIBRARY.rename(new)
        old.rename(LIBRARY)
        for path, content in before.items():
            path.write_bytes(content)
        raise


def main(version: str, source: str) -> None:
    """Upgrade and print what has changed; or stop with one line and change nothing."""
    version = version.removeprefix('v')
    if not re.fullmatch(r'\d+\.\d+\.\d+', version):
        sys.exit(f'VERSION={version} is no version: make upgrade VERSION=0.3.0')
    if not source:
        sys.exit(f'where is the template? make upgrade VERSION={version} FROM=<git URL or wheel>')
    if not LIBRARY.exists():
        sys.exit('there is no be-queue/: set its version in pyproject.toml, and run make lock')
    current = version_of(LIBRARY)
    if number(version) < number(current):
        sys.exit(f'be-queue/ is {current}, newer than {version}: revert the commit of its upgrade')
    if version == current:
        print(f'be-queue/ is {version} already')
        return
    if git('status', '--porcelain', '--', LIBRARY):
        sys.exit('be-queue/ has changes that the upgrade would lose: commit or restore them first')

    # Inside the service, so that a rename is all it takes to swap.
    with tempfile.TemporaryDirectory(prefix='.upgrade-', dir=ROOT) as folder:
        scratch = Path(folder)
        if source.endswith('.whl'):
            release = from_wheel(source, scratch)
        else:
            release = from_git(source, version, scratch)
        missing = [part for part in PARTS if not (release / part).exists()]
        if missing:
            sys.exit(f'{source} has no be-queue/{missing[0]}: it is no release of the template')
        if version_of(release) != version:
            sys.exit(f'{source} holds be-queue {version_of(release)}, not {version}')
        new = scratch / 'new'
        shutil.copytree(LIBRARY, new, ignore=lambda at, _: PARTS if at == str(LIBRARY) else ())
        for part in PARTS:
            (release / part).rename(new / part)
        swap(new, scratch / 'old')

    for section in re.split('^(?=## )', (LIBRARY / 'CHANGELOG.md').read_text(), flags=re.MULTILINE):
        title = re.match(r'## (\d+\.\d+\.\d+)', section)
        if title and number(current) < number(title[1]) <= number(version):
            print(f'\n{section.rstrip()}')
    print(f'\nbe-queue/ is {version}, was {current}: change what it says, make test lint, commit')


if __name__ == '__main__':
    main(*sys.argv[1:])
