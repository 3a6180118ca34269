"""Who works in a folder: one process at a time."""

import threading

import pytest

from cellzoo.errors import UserError
from cellzoo.run_folder import alone


def test_another_is_refused_or_waits(tmp_path):
    order, entered = [], threading.Event()

    def wait():
        with alone(tmp_path, otherwise=None):
            order.append("second")
            entered.set()

    second = threading.Thread(target=wait)
    with alone(tmp_path, otherwise="is in use"):
        second.start()
        with (
            pytest.raises(UserError, match="is in use: wait for it, or choose another --out"),
            alone(tmp_path, otherwise="is in use"),
        ):
            pass
        assert not entered.wait(0.2)
        order.append("first")
    assert entered.wait(10) and order == ["first", "second"]
    second.join()
