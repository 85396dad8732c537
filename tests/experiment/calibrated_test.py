"""A temperature from validation is part of the network, whoever computes its scores."""

import json
import shutil

import jax
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from scipy import special

from configs import candidates, senet, vnet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import calibrated, checks, network
from dtc_jax.export import card, interface, onnx_model, served
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.runs import evaluate
from dtc_jax.statistics import roc, temperature, threshold
from dtc_jax.statistics.temperature import Temperature
from dtc_jax.tasks import classification

pytestmark = pytest.mark.extras  # four trainings


@pytest.fixture(scope="module")
def config(small):
    small.data.size_mm = (16, 16, 16)
    small.model.measures = 2
    small.train.update(epochs=2, evaluate_every_epochs=2, ensemble=2)
    small.split.folds = 2
    small.temperature = "validation"
    return small.lock()


@pytest.fixture(scope="module")
def table(run):
    return pd.read_csv(run / "predictions.csv", dtype={"lesion_id": str})


@pytest.fixture(scope="module")
def arrays(config):
    """Crops and masks of three lesions, and their ids."""
    data = classification.load(config)
    rows = data.table[data.table.label.notna()].iloc[:3]
    records = [data.records[position] for position in rows.position]
    image, mask = (np.stack([record[name] for record in records]) for name in ("image", "mask"))
    return image, mask, list(rows.lesion_id)


def _metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_each_fold_has_its_own_and_the_notes_say_so(run):
    metrics = _metrics(run)
    first, second = (entry["value"] for entry in metrics["temperature"])
    assert len({first, second, 1.0}) == 3
    assert all(entry["n"] > 0 for entry in metrics["temperature"])
    (note,) = [note for note in metrics["notes"] if "temperature" in note]
    low, high = (metrics["temperature"][0][end] for end in ("low", "high"))
    assert f"fold 0: {first:.2f} ({low:.2f}–{high:.2f}, n " in note


def test_it_divides_the_mean_logit_of_the_networks_that_decide_together(run, table, arrays):
    image, mask, ids = arrays
    raw = network.load(run, "classification")
    assert [len(member.networks) for member in raw.members] == [2, 2]
    values = [entry["value"] for entry in _metrics(run)["temperature"]]
    logits = []
    for fold, value in enumerate(values):
        logits.append(np.asarray(raw.member(fold).on_device(image, mask), float) / value)
        rows = table[table.fold == fold].set_index("lesion_id")
        np.testing.assert_allclose(special.expit(logits[-1]), rows.score[ids], atol=1e-6)
    trained = network.load_with_threshold(run, "classification")
    together = special.expit(np.mean(logits, axis=0))
    np.testing.assert_allclose(trained.probability(image, mask), together, atol=1e-6)
    predicted, heat = make_classifier(trained).answer(image, mask, True)
    np.testing.assert_allclose(predicted, together, atol=1e-6)
    alone = [
        make_classifier(network.TrainedNetwork(raw.task, (member,), threshold=0.5)).answer(
            image, mask, True
        )[1]
        / value
        for member, value in zip(raw.members, values, strict=True)
    ]
    np.testing.assert_allclose(heat, np.mean(alone, axis=0), atol=1e-6)
    assert trained.fingerprints["weights"] != raw.fingerprints["weights"]


def test_no_order_changes_and_the_threshold_is_that_of_calibrated_scores(run, config, table):
    data = classification.load(config)
    rows = classification.split(config, data.table)
    for fold, member in enumerate(network.load(run).members):
        split = rows[rows.fold == fold]
        before = calibrated.folds.predict(member, data, split).set_index("lesion_id")
        after = table[table.fold == fold].set_index("lesion_id").loc[before.index]
        for _, part in before.groupby("split"):
            ours = after.score[part.index]
            assert roc.auc(part.label.to_numpy(), ours.to_numpy()) == pytest.approx(
                roc.auc(part.label.to_numpy(), part.score.to_numpy()), abs=1e-9
            )
        checked = before[before.split == "validation"]
        found = temperature.fit(checked.label.to_numpy(), checked.score.to_numpy())
        assert found.value == pytest.approx(_metrics(run)["temperature"][fold]["value"], rel=1e-4)
        chosen = after[after.split == "validation"]
        expected = threshold.choose(chosen.label.to_numpy(), chosen.score.to_numpy(), "youden")
        assert after.threshold.unique() == pytest.approx([expected])


def test_an_exported_graph_has_it(run, arrays):
    image, mask, _ = arrays
    trained = network.load_with_threshold(run, "classification")
    what = served.make(trained)
    model = onnx_model.make(what, {})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    probability, heat = session.run(["probability", "heat"], {"image": image, "mask": mask})
    expected, shown = make_classifier(trained).answer(image, mask, True)
    np.testing.assert_allclose(probability, expected, atol=1e-5)
    np.testing.assert_allclose(heat, shown, atol=1e-5)
    described = interface.describe(what, {}, "", {"dtype": "float32"})
    values = [entry["value"] for entry in _metrics(run)["temperature"]]
    assert described["temperatures_inside_the_model"] == values
    assert f"by fold: {values[0]:.3f} (" in card.make(what, run, described)


def test_evaluating_again_gives_the_same(run, table, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    figures = evaluate.run(tmp_path / "run")
    again = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype={"lesion_id": str})
    np.testing.assert_allclose(again.score, table.score, rtol=1e-6)
    values = [[entry["value"] for entry in of["temperature"]] for of in (figures, _metrics(run))]
    np.testing.assert_allclose(*values, rtol=1e-6)


def test_a_run_without_its_temperature_is_not_used_as_if_it_had_none(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    metrics = _metrics(run)
    entries = metrics.pop("temperature")
    wrong = [entries[:1], [{}, {}], [entry | {"value": 0.0} for entry in entries]]
    for stored in ({}, *({"temperature": one} for one in wrong)):
        (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics | stored))
        with pytest.raises(InputError, match=r"does not say the temperature .* --mode=evaluate"):
            network.load_with_threshold(tmp_path / "run", "classification")
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(InputError, match="does not say the temperature"):
        network.load_with_threshold(tmp_path / "run", "classification")


@pytest.mark.parametrize("measures", [0, 2])
def test_a_single_network_has_it_in_all_that_adds_to_its_logit(config, drawn, arrays, measures):
    single = config.copy_and_resolve_references()
    single.train.ensemble, single.model.measures = 1, measures
    plain = drawn(single)
    (member,) = plain.members
    tempered = network.TrainedNetwork(plain.task, (calibrated.at(member, Temperature(3.0, 10)),))
    expected = np.asarray(plain.on_device(*arrays[:2])) / 3
    np.testing.assert_allclose(tempered.on_device(*arrays[:2]), expected, rtol=1e-5, atol=1e-6)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(tempered.variables)}
    assert dtypes == {np.dtype(np.float32)}


def test_networks_are_calibrated_once(run):
    member = network.load_with_threshold(run, "classification").members[0]
    with pytest.raises(ValueError, match="already"):
        calibrated.at(member, Temperature(2.0, 10))


def _config(get, **fields):
    config = get("demo").unlock()
    config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
    config.update(fields)
    return config


def test_it_is_refused_where_it_makes_no_sense():
    checks.check(_config(senet.get_config, temperature="validation"))
    second_look = _config(candidates.get_config, temperature="validation")
    checks.check(second_look)
    for config, message in (
        (_config(senet.get_config, temperature="test"), r"config\.temperature"),
        (_config(vnet.get_config, temperature="validation"), "no score of a lesion to calibrate"),
    ):
        with pytest.raises(UsageError, match=message):
            checks.check(config)
    config = _config(senet.get_config, temperature="validation", threshold="fixed:0.5")
    config.split.kind = "two_part"
    with pytest.raises(UsageError, match=r"config\.temperature needs a validation split"):
        checks.check(config)
    config.temperature = "none"
    checks.check(config)


def test_earlier_runs_have_none():
    config = senet.get_config("demo").unlock()
    del config.temperature
    assert not calibrated.is_on(config)
    checks.check(_config(lambda _: config))
