from __future__ import annotations

from app.utils.vault.patience import Patience


def test_it_grows_steeply_and_is_short_again_once_a_login_has_lasted():
    patience = Patience()
    seen = []
    for _ in range(4):
        seen.append(patience.seconds)
        patience.refused()
    assert seen == [3, 60, 300, 300]
    patience.lasted()
    assert patience.seconds == 3
