"""What the notes below the ablation table say of trials that have no figures."""

from configs import senet
from dtc_jax.sweep import ablation
from dtc_jax.sweep.plan import Plan, Trial


def test_each_reason_names_its_seeds():
    config = senet.get_config("demo")
    trials = tuple(Trial("full", seed, config) for seed in range(4))
    states = {"0": "ended by SIGKILL", "1": "open", "2": "done", "3": "open"}
    plan = Plan("full", 0.05, {"full": {}}, trials)
    notes = ablation._notes(plan, {"full": {"trials": states}}, {})
    assert "full, seed 0: ended by SIGKILL" in notes
    assert "full, seeds 1, 3: open" in notes
