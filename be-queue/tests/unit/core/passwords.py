"""Passwords of all kinds of characters, and how to tell that none of one is left."""

from __future__ import annotations

from hypothesis import strategies as st

# Every character that means something in a URL, a regular expression or a literal, and any other.
ODD = st.text(st.sampled_from('@:/?#&=%;\'"\\ \n[](){}+*é') | st.characters(codec='utf-8'))
#: Starts with a mark to look for, and ends with one so that a part that stays behind is found.
PASSWORDS = ODD.map(lambda text: f'pw1{text}pw2')


def assert_hidden(password: str, shown: object) -> None:
    assert password not in str(shown)
    assert 'pw1' not in str(shown)
    assert 'pw2' not in str(shown)
