"""A lock is waited for, and it is said for what."""

import os
import threading

from dtc_jax import locks


def test_the_second_one_waits_and_says_so(tmp_path, capsys):
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    locks.wait_for(first, "the other")
    assert not capsys.readouterr().err
    done = threading.Event()
    other = threading.Thread(target=lambda: (locks.wait_for(second, "the other"), done.set()))
    other.start()
    assert not done.wait(0.2)
    os.close(first)
    other.join(10)
    assert done.is_set()
    os.close(second)
    assert capsys.readouterr().err == "waiting for the other …\n"
