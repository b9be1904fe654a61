"""pyproject.toml, poetry.lock and both requirements files agree; Poetry is not needed to see it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]

# What `make lock` exports: the groups of poetry.lock that each file holds.
EXPORTS = {
    'pip-requirements.txt': {'main', 'app'},
    'otlp-requirements.txt': {'main', 'app', 'otlp'},
    'dev-requirements.txt': {'main', 'app', 'dev'},
}

# Markers are compared by where they hold, since Poetry rewrites them when it exports.
PLATFORMS = (('linux', 'Linux', 'posix'), ('darwin', 'Darwin', 'posix'), ('win32', 'Windows', 'nt'))
ENVIRONMENTS = [
    {
        'python_version': python,
        'python_full_version': f'{python}.1',
        'sys_platform': sys_platform,
        'platform_system': system,
        'os_name': os_name,
        'platform_machine': machine,
        'implementation_name': implementation.lower(),
        'platform_python_implementation': implementation,
    }
    for python, (sys_platform, system, os_name), machine, implementation in product(
        ('3.10', '3.11', '3.12', '3.13', '3.14', '3.15'),
        PLATFORMS,
        ('x86_64', 'aarch64', 'armv7l'),
        ('CPython', 'PyPy'),
    )
]


def faults(folder: Path) -> list[str]:
    """Return where the four files in ``folder`` disagree."""
    pyproject = tomllib.loads((folder / 'pyproject.toml').read_text())
    lock = tomllib.loads((folder / 'poetry.lock').read_text())
    found = []
    if lock['metadata']['content-hash'] != content_hash(pyproject):
        found.append('poetry.lock was made from another pyproject.toml: run make lock')
    for group in ('main', *pyproject['dependency-groups']):
        found += closure_faults(group, roots(pyproject, group), lock['package'])
    for name, groups in EXPORTS.items():
        exported = dict(requirements((folder / name).read_text()))
        found += export_faults(name, exported, dict(wanted(lock['package'], groups)))
    return found


def content_hash(pyproject: dict[str, Any]) -> str:
    """Return what Poetry 2.3 and newer keep in the lock file to know that it is up to date."""
    relevant = {
        'project': _some(
            pyproject['project'], 'requires-python', 'dependencies', 'optional-dependencies'
        ),
        'dependency-groups': pyproject['dependency-groups'],
        'tool': {
            'poetry': _some(
                pyproject['tool']['poetry'],
                *('dependencies', 'dev-dependencies', 'extras', 'group', 'source'),
            )
        },
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def _some(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: table[key] for key in keys if key in table}


def roots(pyproject: dict[str, Any], group: str) -> list[Requirement]:
    """Return the requirements that a group, with those that it includes, names itself."""
    if group != 'main':
        entries = pyproject['dependency-groups'][group]
        own = [Requirement(entry) for entry in entries if isinstance(entry, str)]
        included = [entry['include-group'] for entry in entries if isinstance(entry, dict)]
        return own + [root for name in included for root in roots(pyproject, name)]
    project = pyproject['project']
    lists = [project['dependencies'], *project.get('optional-dependencies', {}).values()]
    return [Requirement(text) for texts in lists for text in texts]


def closure_faults(
    group: str, roots: list[Requirement], packages: list[dict[str, Any]]
) -> Iterator[str]:
    """Follow the group's requirements through the lock: none may be missing, none left over."""
    locked: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        if group in package['groups']:
            locked.setdefault(package['name'], []).append(package)
    for root in roots:
        for package in locked.get(canonicalize_name(root.name), ()):
            if not root.specifier.contains(package['version']):
                yield f'poetry.lock has {package["name"]} {package["version"]}, wanted is {root}'
    pending = {(canonicalize_name(root.name), frozenset(root.extras)) for root in roots}
    seen = set()
    while pending:
        name, extras = needed = pending.pop()
        seen.add(needed)
        if name not in locked:
            yield f'{name} is needed by group {group}, but poetry.lock does not have it there'
        for package in locked.get(name, ()):
            pending |= set(dependencies(package, extras)) - seen
    for name in sorted(locked.keys() - {name for name, _ in seen}):
        yield f'nothing in group {group} needs {name}, which poetry.lock has there'


def dependencies(
    package: dict[str, Any], extras: Iterable[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what a locked package needs somewhere, with the extras that it wants of it."""
    for name, constraints in package.get('dependencies', {}).items():
        for constraint in constraints if isinstance(constraints, list) else [constraints]:
            table = constraint if isinstance(constraint, dict) else {}
            if any(where(table.get('markers', ''), extra) for extra in ('', *extras)):
                yield canonicalize_name(name), frozenset(table.get('extras', ()))


Exported = tuple[frozenset[int], frozenset[str]]


def wanted(
    packages: list[dict[str, Any]], groups: set[str]
) -> Iterator[tuple[tuple[str, str], Exported]]:
    """Yield what an export of ``groups`` holds: name and version, where, and hashes."""
    for package in packages:
        markers = package.get('markers', '')
        places: frozenset[int] = frozenset()
        for group in groups & set(package['groups']):
            places |= where(markers.get(group, '') if isinstance(markers, dict) else markers)
        if places:
            hashes = frozenset(file['hash'] for file in package['files'])
            yield (package['name'], package['version']), (places, hashes)


def requirements(text: str) -> Iterator[tuple[tuple[str, str], Exported]]:
    """Yield the same from a requirements file."""
    for line in text.replace('\\\n', '').splitlines():
        requirement, *hashes = (part.strip() for part in line.split('--hash='))
        parsed = Requirement(requirement)
        key = canonicalize_name(parsed.name), str(parsed.specifier).removeprefix('==')
        yield key, (where(str(parsed.marker or '')), frozenset(hashes))


@cache
def where(marker: str, extra: str = '') -> frozenset[int]:
    """Return the environments, by number, in which a marker holds; '' holds in all."""
    parsed = Marker(marker) if marker else None
    return frozenset(
        number
        for number, environment in enumerate(ENVIRONMENTS)
        if parsed is None or parsed.evaluate({**environment, 'extra': extra})
    )


def export_faults(
    name: str,
    exported: dict[tuple[str, str], Exported],
    wanted: dict[tuple[str, str], Exported],
) -> Iterator[str]:
    """Compare a requirements file with what the lock says it should hold."""
    for package, version in sorted(wanted.keys() - exported.keys()):
        yield f'{name} lacks {package}=={version}: run make lock'
    for package, version in sorted(exported.keys() - wanted.keys()):
        yield f'{name} has {package}=={version}, poetry.lock does not in its groups: run make lock'
    for package, version in sorted(wanted.keys() & exported.keys()):
        for what, ours, theirs in zip(
            ('another marker', 'other hashes'),
            exported[package, version],
            wanted[package, version],
            strict=True,
        ):
            if ours != theirs:
                yield f'{name} has {what} for {package} than poetry.lock: run make lock'


def test_the_files_agree():
    assert faults(ROOT) == []


# One package's part of each file.
LOCKED = r'\[\[package\]\]\nname = "{}"\n(?:(?!\[\[package\]\]|\[extras\]).*\n)*'
LINES = r'{}==.*\n(?:    .*\n)+'


@pytest.mark.parametrize(
    ('changes', 'fault'),
    [
        (
            {'pyproject.toml': (r'"flask>=3.1,<4"', '"flask>=3.1,<5"')},
            'poetry.lock was made from another pyproject.toml',
        ),
        (
            {'pyproject.toml': (r'(?=    "flask>=)', '    "boltons>=24",\n')},
            'boltons is needed by group app, but poetry.lock does not have it',
        ),
        (
            {'pyproject.toml': (r'    "flask>=.*\n', '')},
            'nothing in group app needs flask',
        ),
        (
            {'pyproject.toml': (r'"flask>=3', '"flask>=4')},
            'wanted is flask',
        ),
        (
            {'poetry.lock': (r'(name = "flask"\nversion = )"[^"]+"', r'\1"3.1.99"')},
            'pip-requirements.txt lacks flask==3.1.99',
        ),
        (
            {'poetry.lock': (r'(file = "flask-.*hash = "sha256:)....', r'\g<1>0000')},
            'pip-requirements.txt has other hashes for flask',
        ),
        (
            {'poetry.lock': (r'(name = "flask"\n(?:.*\n)*?groups = )\["app"\]', r'\1["dev"]')},
            'flask is needed by group app, but poetry.lock does not have it',
        ),
        (
            {
                # Gone everywhere: only the dependencies of what is left show that it is missing.
                'poetry.lock': (LOCKED.format('itsdangerous'), ''),
                'pip-requirements.txt': (LINES.format('itsdangerous'), ''),
                'dev-requirements.txt': (LINES.format('itsdangerous'), ''),
            },
            'itsdangerous is needed by group app, but poetry.lock does not have it',
        ),
        *(
            ({file: change}, f'{file} {words}')
            for file in EXPORTS
            for change, words in [
                ((LINES.format('vine'), ''), 'lacks vine=='),
                ((r'(?m)^vine==\S+', 'vine==0.0.1'), 'has vine==0.0.1, poetry.lock does not'),
                ((r'\Z', 'boltons==24.0\n'), 'has boltons==24.0, poetry.lock does not'),
                ((r'(vine==.*\n)    --hash=.*\n', r'\1'), 'has other hashes for vine'),
                ((r'(vine==.* and python_version < )"4.0"', r'\1"3.12"'), 'has another marker'),
                ((r'(tzdata==.*?) and \(.*\)', r'\1'), 'has another marker for tzdata'),
            ]
        ),
        (
            # Left in the file that the image is built from after it became a development tool.
            {'pip-requirements.txt': (r'\Z', 'rich==14.0.0\n')},
            'pip-requirements.txt has rich==14.0.0',
        ),
    ],
)
def test_a_disagreement_is_seen(tmp_path, changes, fault):
    for name in ('pyproject.toml', 'poetry.lock', *EXPORTS):
        shutil.copy(ROOT / name, tmp_path)
    for name, (pattern, replacement) in changes.items():
        file = tmp_path / name
        changed, count = re.subn(pattern, replacement, file.read_text(), count=1)
        assert count == 1, f'{name} has nothing like {pattern!r}'
        file.write_text(changed)

    assert [text for text in faults(tmp_path) if fault in text]
