"""A signal sets the flag and nothing else, and only while it is watched for."""

import signal
import threading

import pytest

from dtc_jax.training import interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_flag_and_the_former_handlers_come_back(number):
    former = signal.getsignal(number)
    with interrupt.watch() as stop:
        assert not stop
        signal.raise_signal(number)
        signal.raise_signal(number)  # an impatient second one does no harm
        assert stop
        assert stop.name == number.name
    assert signal.getsignal(number) is former


def test_the_former_handlers_come_back_after_an_error():
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), interrupt.watch():
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) is former


def test_outside_the_main_thread_nothing_is_watched():
    seen = []

    def work():
        with interrupt.watch() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
