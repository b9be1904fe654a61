"""Names on SQS: what is put together, what is accepted, and what SQS makes of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
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
        ('prod', 'alice', 'prod'),
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
    monkeypatch.setattr('getpass.getuser', lambda: {}['uid not found'])
    with pytest.raises(MappingError, match=r'no login name.* set USERNAME'):
        naming.prefix('local')


@pytest.mark.parametrize(
    ('env', 'username', 'words'),
    [
        *(('local', name, r'username=.*USERNAME') for name in ('', 'éü')),
        *((env, None, r"env=.*for example 'prod'") for env in ('', 'prod.eu', 'prod\n', None)),
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


@given(st.just('local') | LEGAL | ANYTHING, LEGAL | ANYTHING, LEGAL | ANYTHING, FIFO)
def test_every_name_is_refused_or_legal_on_sqs(
    env: str, username: str, queue_name: str, suffix: str
) -> None:
    try:
        queue = Queue(queue_name=queue_name + suffix, task='t')
        name = Queues([queue]).build_celery(env, username=username).sqs_name(queue)
    except MappingError:
        is_legal = all(re.fullmatch('[a-zA-Z0-9_-]{1,20}', part) for part in (env, queue_name))
        assert env == 'local' or not is_legal
        return

    for each in (name, naming.dead_letter_name(name)):
        assert SQS_NAME.fullmatch(each)
        assert Channel.entity_name(None, each) == each, 'kombu would change it'
