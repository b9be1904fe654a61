"""The pages of the project link to files and headings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r'\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)')


def pages() -> list[str]:
    found = (page.relative_to(ROOT) for page in ROOT.rglob('*.md'))
    # Environments and caches have pages of others.
    return sorted(str(page) for page in found if not str(page).startswith('.'))


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links."""
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def broken(page: Path) -> Iterator[str]:
    # It becomes README.md.
    folder = ROOT if page.name == 'service.md' else page.parent
    for path, anchor in LINK.findall(page.read_text()):
        target = folder / path if path else page
        if not target.exists():
            yield path
        elif anchor and anchor not in anchors(target):
            yield f'{path}#{anchor}'


@pytest.mark.parametrize('name', pages())
def test_links_lead_somewhere(name: str) -> None:
    assert list(broken(ROOT / name)) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text('# One\n[a](gone.md) [b](#two) [c](page.md#one) [d](https://x.example/#e)\n')
    assert list(broken(page)) == ['gone.md', '#two']


def test_the_tests_that_show_what_is_promised_exist() -> None:
    """A service has no tests of the library: the page names their files without links."""
    page = (ROOT / 'docs' / 'delivery.md').read_text()
    table = page.partition('\n|---')[2].partition('\n\n')[0].splitlines()[1:]
    assert table
    for row in table:
        named = re.findall(r'`([\w/]+\.py)::(\w+)`', row)
        assert named, row
        for file, test in named:
            assert f'\ndef {test}(' in (ROOT / 'be-queue' / 'tests' / file).read_text()
