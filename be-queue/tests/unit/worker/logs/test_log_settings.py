from __future__ import annotations

import pytest

from be_queue.worker.settings import ConfigError


def test_by_default_the_format_is_chosen_and_no_logger_is_special(configured) -> None:
    config = configured()
    assert (config.log_level, config.log_format, config.log_levels) == ('INFO', 'auto', {})


def test_levels_of_loggers(configured) -> None:
    config = configured(LOG_LEVELS=' sqlalchemy.engine = info,kombu=DEBUG,')
    assert config.log_levels == {'sqlalchemy.engine': 'INFO', 'kombu': 'DEBUG'}


def test_the_format_is_taken_in_any_case(configured) -> None:
    assert configured(LOG_FORMAT='JSON').log_format == 'json'


@pytest.mark.parametrize(
    ('name', 'value', 'rule'),
    [
        ('LOG_LEVELS', 'kombu', "not 'kombu'"),
        ('LOG_LEVELS', '=DEBUG', "not '=DEBUG'"),
        ('LOG_LEVELS', 'boto=INFO,kombu=LOUD', "not 'kombu=LOUD'"),
        ('LOG_LEVELS', 'kombu=10', 'for example sqlalchemy.engine=INFO,kombu=DEBUG'),
        ('LOG_FORMAT', 'xml', "'auto', 'json' or 'console'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(configured, name, value, rule) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**{name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f'{name}={value!r}: must be ')
    assert rule in line
