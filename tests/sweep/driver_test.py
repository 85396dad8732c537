"""What all engines share, on processes that are none."""

from dtc_jax.sweep import driver, jobs


class Waits:
    """A process that begins when it has been looked at three times, and then ends."""

    def __init__(self):
        self._looks = 0

    def poll(self):
        self._looks += 1
        return jobs.DONE if self._looks > 6 else None

    def has_started(self):
        return self._looks > 3

    def stop(self):
        """Nothing."""


def test_a_job_that_waits_for_its_turn_is_not_shown_as_one_that_runs(job):
    """An engine may be given hundreds, of which few run."""
    seen = []
    outcomes = driver.drive([job("late", "")], 0, seen.append, lambda batch: [Waits()])
    assert [outcome.name for outcome in outcomes] == ["late"]
    assert [len(running) for running in seen] == [0, 0, 0, 1, 1, 1]
