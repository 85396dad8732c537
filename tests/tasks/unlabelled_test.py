"""Lesions without a label teach the ratings beside the class, and are nowhere evaluated."""

import json
import pathlib

import jax
import numpy as np
import pandas as pd
import pytest

from configs import candidates, senet
from dtc_jax import csv_reader
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import checks, initial
from dtc_jax.runs import evaluate, train
from dtc_jax.tasks import classification, ratings, registry, unlabelled

AUXILIARY = {"margin": 0.5, "texture": 0.2}
WITHOUT = {"p00-1", "p04-1", "p04-2", "p07-2", "p08-1", "p08-2", "p20-1"}  # p08's are not rated


def _config(**loss):
    config = senet.get_config("demo").unlock()
    config.preprocess.update(crop_mm=(8, 8, 8))
    config.model.update(width=4, stages=1)
    config.loss.auxiliary = AUXILIARY
    config.loss.update(unlabelled=True, **loss)
    return config


def test_it_is_refused_where_it_would_do_nothing():
    config = senet.get_config("demo").unlock()
    config.loss.unlabelled = True
    with pytest.raises(UsageError, match=r"teach config\.loss\.auxiliary alone, which is empty"):
        ratings.check(config)
    config = candidates.get_config().unlock()
    config.loss.unlabelled = True
    config.train.batch_size = config.predict.batch_size = 8
    for auxiliary in ({}, AUXILIARY):
        config.loss.auxiliary = auxiliary
        with pytest.raises(UsageError, match="every candidate has a label"):
            checks.check(config)


@pytest.fixture(scope="module")
def training():
    table = pd.DataFrame({"label": [1, 1, 0, np.nan, 0], "lesion_id": list("abcde")})
    return table.assign(
        uptake=[0, 8, np.nan, 3, 40], margin=[1, 2, 3, 4, 5.0], texture=[1, 2, 3, np.nan, 4]
    )


def test_an_unknown_label_stays_unknown_even_where_its_grade_is_not(training):
    config = _config(graded="uptake", graded_range=(20.0, 0.0), graded_share=0.5)
    targets = ratings.targets(config, training)
    np.testing.assert_allclose(targets[:, 0], [1, 0.8, 0, np.nan, 0], rtol=1e-6)
    margin = np.arange(1, 6.0)  # all training lesions have part in the scale
    np.testing.assert_allclose(targets[:, 1], (margin - 3) / margin.std(), rtol=1e-6)
    alone = training.assign(uptake=[5, 5, 5, 1, np.nan])
    with pytest.raises(InputError, match="column uptake has the same value"):
        ratings.targets(config, alone)


def test_classes_are_balanced_among_the_labelled_alone(training):
    more = pd.concat([training, training[2:3]], ignore_index=True)
    config = _config()
    third, rest = 5 / 4, 5 / 6  # two positive and three negative lesions
    wanted = np.array([third, third, rest, 1, rest, rest])
    np.testing.assert_allclose(classification.weights(config, more), wanted)
    config.loss.lesion_weight = "margin"
    weight = more.margin / more.margin.mean()
    np.testing.assert_allclose(classification.weights(config, more), wanted * weight)


def _batch():
    rng = np.random.default_rng(0)
    label = (np.arange(8) % 2).astype(np.float32)
    image = rng.normal(-800, 50, (8, 12, 12, 12))
    image[:, 4:8, 4:8, 4:8] += 200 + 500 * label[:, None, None, None]
    targets = np.stack([label, *rng.normal(size=(2, 8))], axis=1).astype(np.float32)
    targets[2, 1] = targets[5, 2] = np.nan
    return {
        "image": image.astype(np.int16),
        "mask": (image > -700).astype(np.uint8),
        "extent": np.tile(np.array([[0, 12]] * 3, np.int32), (8, 1, 1)),
        "index": np.arange(8, dtype=np.int32),
        "valid": np.ones(8, np.float32),
        "weight": rng.uniform(0.5, 2, 8).astype(np.float32),
        "label": label,
        "targets": targets,
    }


def _labelled(batch, which):
    label = np.where(which, batch["label"], np.nan).astype(np.float32)
    return batch | {
        "label": label,
        "targets": np.concatenate([label[:, None], batch["targets"][:, 1:]], axis=1),
    }


def _loss(config):
    """Of a batch, with its gradient."""
    task = classification.make_task(config)
    params, batch_stats = jax.jit(task.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 8)

    def total(params, batch):
        out = task.loss(params, batch_stats, batch, keys, None)
        return out.sum, out

    slope = jax.jit(jax.grad(total, has_aux=True))
    return lambda batch: slope(params, batch)


def test_the_loss_is_that_of_numpy_and_its_gradient_finite():
    loss, batch = _loss(_config()), _batch()
    weight, targets = batch["weight"].astype(float), batch["targets"].astype(float)
    ones = np.ones(8, bool)

    def changed(row, column, value):
        other = targets.astype(np.float32)
        other[row, column] = value
        return float(loss(batch | {"targets": other})[1].sum)

    # What the network says follows from what the loss gains by another target.
    logit, rated = np.zeros(8), np.zeros((8, 2))
    for i in range(8):
        logit[i] = (changed(i, 0, 0) - changed(i, 0, 1)) / weight[i]
        for a, each in enumerate(AUXILIARY.values()):
            rated[i, a] = (changed(i, 1 + a, -1) - changed(i, 1 + a, 1)) / (4 * weight[i] * each)
    entropy = np.logaddexp(0, logit) - batch["label"] * logit
    errors = np.nansum((rated - targets[:, 1:]) ** 2 * list(AUXILIARY.values()), axis=1)
    for known in (ones, np.arange(8) > 2, ~ones):
        gradient, out = loss(_labelled(batch, known))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        wanted = (weight * (np.where(known, entropy, 0) + errors)).sum()
        assert float(out.sum) == pytest.approx(wanted, rel=1e-3)
        assert float(out.weight) == pytest.approx(weight.sum(), rel=1e-6)
        # The figures of a training are those of its labelled lesions.
        total, counted = out.metrics["loss"]
        wanted = (weight * (entropy + errors))[known].sum()
        assert float(total) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        assert float(counted) == pytest.approx(weight[known].sum(), rel=1e-6)
        correct, count = out.metrics["accuracy"]
        assert (float(correct), float(count)) == (
            ((logit > 0) == (batch["label"] > 0.5))[known].sum(),
            known.sum(),
        )


@pytest.mark.extras
def test_mixed_with_others_each_still_counts_for_what_is_known_of_it():
    config = _config()
    config.augment.mixup = 0.4
    loss, batch = _loss(config), _batch()
    of = lambda known: float(loss(_labelled(batch, known))[1].sum)  # noqa: E731
    nothing = of(np.zeros(8, bool))
    single = [of(np.arange(8) == i) - nothing for i in range(8)]
    known = np.arange(8) % 3 > 0
    assert of(known) == pytest.approx(nothing + np.sum(single, where=known), rel=1e-4)
    gradient, out = loss(_labelled(batch, known))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert float(out.metrics["accuracy"][1]) == known.sum()
    config.loss.unlabelled = False  # where all have a label, nothing differs
    assert float(_loss(config)(batch)[1].sum) == pytest.approx(of(np.ones(8, bool)), rel=1e-5)


@pytest.fixture(scope="module")
def config(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    table = pd.read_csv(study).astype({"label": "Int64"})
    table.loc[table.lesion_id.isin(WITHOUT), "label"] = pd.NA
    table["margin"] = np.arange(len(table)) % 5
    table.loc[table.patient_id == "p08", "margin"] = np.nan
    table.to_csv(study.parent / "some.csv", index=False)
    config = _config()
    config.loss.auxiliary = {"margin": 0.5}
    config.data.update(source="manifest", manifest=str(study.parent / "some.csv"))
    config.data.update(folder=str(folder / "data"), size_mm=(20, 20, 20))
    config.train.update(epochs=1, batch_size=8, evaluate_every_epochs=1)
    config.predict.batch_size = 8
    config.write_report = False
    return config


@pytest.mark.parametrize("folds", [0, 2])
def test_only_persons_whom_nobody_is_tested_or_chosen_on_are_learned(config, folds):
    config = config.copy_and_resolve_references()
    config.split.folds = folds
    task = registry.of(config)
    data = task.load(config)
    rows = task.split(config, data.table)
    assert set(data.unlabelled.lesion_id) == WITHOUT
    assert not set(rows.lesion_id) & WITHOUT
    found = unlabelled.of_run(config, data, rows)
    assert "p20-1" not in set(found.lesion_id)  # of another cohort
    for fold, part in rows.groupby("fold"):
        trained = set(part.patient_id[part.split == "train"]) | {"p04"}
        own = {"p00-1", "p04-1", "p04-2", "p07-2"}
        wanted = {lesion for lesion in own if lesion[:3] in trained}
        assert set(found.lesion_id[found.fold == fold]) == wanted
    config.loss.unlabelled = False
    assert unlabelled.of_run(config, data, rows).empty
    assert unlabelled.allowed(config, data, rows).empty


@pytest.mark.extras
def test_a_run_learns_from_them_and_from_nobody_whom_it_tests(config, tmp_path, capsys):
    home = tmp_path / "run"
    metrics = train.run(config, home).metrics
    table = csv_reader.read_table(home / "unlabelled.csv", ("patient_id", "lesion_id"))
    assert {"p04-1", "p04-2"} <= set(table.lesion_id) <= WITHOUT
    (count,) = metrics["unlabelled"]
    assert count == {
        "fold": 0,
        "lesions": len(table),
        "patients": table.patient_id.nunique(),
    }
    said = unlabelled.sentence([count])
    assert f"learned from {len(table)} lesions without a label of" in said
    assert capsys.readouterr().out.count(said) == 2  # before the training and after it
    assert said in metrics["notes"]
    for name in ("predictions.csv", "baselines.csv", "lesions.csv"):
        stored = csv_reader.read_table(home / name, ("patient_id", "lesion_id"))
        assert not set(stored.lesion_id) & WITHOUT
    assert not set(table.patient_id) & set(_held_out(home))
    learned = json.loads((home / "metrics.jsonl").read_text().splitlines()[0])
    assert np.isfinite(learned["train/loss"])
    assert train.run(config, home).metrics == metrics  # bound to the same data
    # Patients whom it knows by such lesions alone are not new to it.
    assert "p04" in initial.seen_besides(home, config)
    later = config.copy_and_resolve_references()
    later.init_from = str(home)
    rows = pd.DataFrame({"patient_id": ["P04", "new"], "split": ["test", "train"]})
    with pytest.raises(InputError, match=r"chosen on 1 patients .* such as P04"):
        initial.refuse_seen(later, rows)
    new = pd.read_csv(config.data.manifest)
    new = new[new.patient_id == "p04"].assign(label=[0, 1])
    path = pathlib.Path(config.data.manifest).parent / "later.csv"
    new.to_csv(path, index=False)
    with pytest.raises(InputError, match="the run was trained or chosen on 1 of its 1 patient"):
        evaluate.run(home, manifest=path)
    (home / "unlabelled.csv").unlink()
    with pytest.raises(InputError, match="nothing else records whose lesions without a label"):
        initial.seen_besides(home, config)


def _held_out(home):
    stored = csv_reader.read_table(home / "predictions.csv", ("patient_id", "lesion_id"))
    return stored.patient_id[stored.split != "train"]
