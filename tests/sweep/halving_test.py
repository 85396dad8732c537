"""Trials that are behind on validation end at a rung; the base, and the first ones, never do."""

import pytest

from configs import senet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.sweep import halving, plan
from dtc_jax.training.result import Evaluated


@pytest.fixture
def planned(tmp_path):
    def planned(**change):
        file = tmp_path / "sweep.py"
        variants = {"base": {}, **{name: {"model.width": 4 + i} for i, name in enumerate("abcd")}}
        sweep = {"base": "base", "variants": variants} | change
        file.write_text(f"def get_sweep():\n    return {sweep!r}\n")
        return plan.make(senet.get_config("demo"), file)

    return planned


def _at(step, loss, total=90):
    return Evaluated(step, total, {"loss": loss}, True)


def test_the_worse_end_at_their_rungs_and_the_base_never(planned, tmp_path):
    rungs = halving.prepare(tmp_path, planned(), 3)
    a, b, c, d, base = (
        halving.of_trial(rungs, tmp_path / "trials" / f"{name}-seed0")
        for name in ("a", "b", "c", "d", "base")
    )
    assert not a(_at(5, 9.0))  # before the first rung, one third of a third of a third of a third
    assert not a(_at(10, 0.5))  # the first one there
    assert not b(_at(10, 0.4))  # the best so far
    assert c(_at(10, 0.6))
    assert not base(_at(10, 5.0))
    assert not a(_at(20, 9.0))  # no rung between
    assert not a(_at(30, 0.3))
    assert b(_at(30, 0.31))
    assert d(_at(30, 0.35))
    assert not a(_at(90, 9.0))  # the end
    assert halving.ended(tmp_path) == ["b-seed0", "c-seed0", "d-seed0"]
    # A trial that goes on from an older checkpoint is told the same.
    assert c(_at(10, 0.6))
    assert not a(_at(30, 0.3))


@pytest.mark.extras
def test_a_sweep_goes_on_as_it_was_started(planned, tmp_path):
    halving.prepare(tmp_path, planned(), 3)
    for other, word in ((4, "--asha=3"), (None, "--asha=3")):
        with pytest.raises(InputError, match=f"was started with {word}"):
            halving.prepare(tmp_path, planned(), other)
    (tmp_path / "other" / "trials").mkdir(parents=True)
    with pytest.raises(InputError, match="without --asha"):
        halving.prepare(tmp_path / "other", planned(), 2)
    assert halving.prepare(tmp_path / "other", planned(), None) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"folds": 3}, "trains several networks"),
        (
            {"variants": {"base": {}, "x": {"loss.label_smoothing": 0.1}}},
            "the loss that is the monitor",
        ),
        (
            {"variants": {"base": {}, "x": {"train.monitor": "auc"}}},
            r"differs from the first one in config\.train\.monitor",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(planned, change, word):
    halving.check(planned())
    with pytest.raises(UsageError, match=word):
        halving.check(planned(**change))


def test_a_folder_without_rungs_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder of a sweep with --asha"):
        halving.of_trial(tmp_path, tmp_path)
