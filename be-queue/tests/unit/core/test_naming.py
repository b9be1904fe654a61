"""Names on SQS: what is put together, what is accepted, and what SQS makes of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.transport.SQS import Channel

from be_queue import MappingError, Queue, Queues, naming

#: The rule of CreateQueue in the SQS API reference, written independently of naming.py.
SQS_NAME = re.compile(r'(?=.{1,80}\Z)[a-zA-Z0-9_-]+(\.fifo)?')

LEGAL = st.text('abcXYZ019_-', min_size=1, max_size=20).filter(lambda text: text != 'local')
ANYTHING = st.text(st.sampled_from('ab9_-. /:é*#\n') | st.characters(), max_size=90)
FIFO = st.sampled_from(['', '.fifo'])


@pytest.mark.parametrize(
    ('env', 'username', 'prefix'),
    [
        ('prod', None, 'prod'),
        ('prod', 'alice', 'prod'),
        ('local', 'alice', 'alice-local'),
        ('local', 'alice.o@corp', 'alice-o-corp-local'),
        ('local', None, 'bob-local'),  # the login name
    ],
)
def test_the_prefix_is_the_environment_and_locally_the_user_too(
    env: str, username: str | None, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('LOGNAME', 'bob')

    assert naming.prefix(env, username=username) == prefix


def test_a_process_without_a_login_name_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown() -> str:
        raise KeyError('getpwuid(): uid not found: 1234')

    monkeypatch.setattr('getpass.getuser', unknown)

    with pytest.raises(MappingError, match=r'no login name.* set USERNAME'):
        naming.prefix('local')


@pytest.mark.parametrize(
    ('env', 'username', 'words'),
    [
        *(('local', name, r'username=.*USERNAME') for name in ('', '...', 'éü')),
        *((env, None, r"env=.*for example 'prod'") for env in ('', 'my env', 'prod.eu', 'prod\n')),
        (None, None, r"env=None.*for example 'prod'"),
    ],
)
def test_an_illegal_environment_or_user_name_is_refused(
    env: Any, username: str | None, words: str
) -> None:
    with pytest.raises(MappingError, match=words):
        naming.prefix(env, username=username)


@pytest.mark.parametrize('suffix', ['', '.fifo'])
def test_the_dead_letter_name_decides_whether_a_name_is_too_long(suffix: str) -> None:
    longest = 'n' * (80 - len('err-') - len(suffix)) + suffix

    naming.check_sqs_name(longest, 'entry')
    with pytest.raises(MappingError, match=r"^entry: .*'err-nn.* 81 characters.* 80: .* by 1$"):
        naming.check_sqs_name(f'n{longest}', 'entry')


def test_an_illegal_prefix_is_refused_with_the_whole_name() -> None:
    with pytest.raises(MappingError, match=r"^entry: .*'my\.team-add'.* the prefix"):
        naming.check_sqs_name('my.team-add', 'entry')


@settings(deadline=None, max_examples=300)
@given(st.just('local') | LEGAL | ANYTHING, LEGAL | ANYTHING, LEGAL | ANYTHING, FIFO)
def test_every_name_is_refused_or_legal_on_sqs(
    env: str, username: str, queue_name: str, suffix: str
) -> None:
    try:
        queue = Queue(queue_name=queue_name + suffix, task='t')
        name = Queues([queue]).build_celery(env, username=username).sqs_name(queue)
    except MappingError:
        return

    for each in (name, naming.dead_letter_name(name)):
        assert SQS_NAME.fullmatch(each)
        assert Channel.entity_name(None, each) == each, 'kombu would change it'


@settings(deadline=None)
@given(LEGAL, FIFO)
def test_legal_names_are_accepted(text: str, suffix: str) -> None:
    queue = Queue(queue_name=text + suffix, task='t')
    assert Queues([queue]).build_celery(text).sqs_name(queue) == f'{text}-{text}{suffix}'
