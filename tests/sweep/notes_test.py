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


def test_the_cost_is_that_of_all_networks_that_decide(tmp_path):
    def cost(**fields):
        config = senet.get_config("demo").unlock()
        config.train.ensemble = fields.pop("ensemble", 1)
        config.update(fields)
        found = ablation._cost(tmp_path, (Trial("full", 0, config),))
        return found["parameters"], found["flops"]

    single, narrow = cost(), cost(candidates={"a": {"model": {"width": 4}}})
    assert cost(ensemble=5) == (5 * single[0], 5 * single[1])
    both = {"a": {"model": {"width": 4}}, "b": {}}
    assert cost(candidates=both) == single  # the largest
    assert cost(candidates=both, combine="mean") == tuple(
        map(sum, zip(single, narrow, strict=True))
    )
