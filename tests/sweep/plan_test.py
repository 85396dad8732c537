"""Sweep files: what they spell out, what is refused, and that those of the project fit."""

import pytest

from configs import senet, vnet
from dtc_jax.errors import UsageError
from dtc_jax.experiment import checks
from dtc_jax.sweep import plan

FULL = {"base": "full", "variants": {"full": {}, "wide": {"model.width": 16}}}


@pytest.fixture
def config():
    config = senet.get_config("demo")
    with config.unlocked():
        config.model.stages = 1
    return config


@pytest.fixture
def make(config, tmp_path):
    def make(sweep, given=()):
        path = tmp_path / "mine.py"
        path.write_text(f"def get_sweep():\n    return {sweep!r}\n")
        return plan.make(config, path, given)

    return make


def test_variants_and_grids_are_spelled_out_in_the_order_of_the_file(make):
    grid = {"grid": {"model.width": (4, 16), "predict.mirror": (True, False)}}
    variants = {"z": {"grid": {"model.pool_window": ((1, 2, 2),)}}, "full": {}, "a": grid}
    found = make({"base": "full", "seeds": (3, 1), "folds": 4, "variants": variants})
    names = ["z-1x2x2", "full", "a-4-on", "a-4-off", "a-16-on", "a-16-off"]
    assert list(found.variants) == names
    assert [trial.name for trial in found.trials[:3]] == [
        "z-1x2x2-seed3",
        "z-1x2x2-seed1",
        "full-seed3",
    ]
    last = found.trials[-1].config
    assert (last.seed, last.model.width, last.predict.mirror, last.split.folds) == (1, 16, False, 4)
    assert found.trials[0].config.model.pool_window == (1, 2, 2)
    assert not last.write_report
    assert found.margin == 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": "ful"}, ["base is 'ful'", "Did you mean 'full'"]),
        ({"base": None}, ["base"]),
        ({"bases": "full"}, ["a key is 'bases'", "Did you mean 'base'"]),
        ({"variants": {}}, ["names no variants"]),
        ({"variants": {"full": {"model.widht": 8}}}, ["variant full", "widht"]),
        ({"variants": {"full": {"model.width": "a"}}}, ["variant full", "width"]),
        ({"variants": {"full": {"model.width": 0}}}, ["variant full", "config.model.width is 0"]),
        ({"variants": {"full": {"seed": 1}}}, ["'seeds'"]),
        ({"variants": {"full": {"split.folds": 3}}}, ["split.folds", "other examples"]),
        ({"variants": {"full": {"report.margin": 0.1}}}, ["report.margin", "'common'"]),
        ({"variants": {"full": {"data.phantom.patients": 9}}}, ["data.phantom.patients", "common"]),
        ({"variants": {"full": {}, "a/b": {}}}, ["'a/b'"]),
        (
            {"variants": {"full": {}, "w-4": {}, "w": {"grid": {"model.width": (4,)}}}},
            ["two variants 'w-4'"],
        ),
        ({"variants": {"full": {}, "Full": {}}}, ["two variants 'Full'"]),
        ({"seeds": (1, 1)}, ["seeds is (1, 1)"]),
        ({"seeds": ()}, ["seeds is ()"]),
        ({"margin": 2.0}, ["margin is 2.0"]),
        ({"common": {"model.depth": 3}}, ["common", "depth"]),
        ({"common": {"seed": 3}}, ["common", "'seeds'"]),
        ({"variants": {"full": {}, "a": {"model.width": None}}}, ["variant a", "width is None"]),
        ({"variants": {"full": {"model.width": True}}}, ["width is True; give whole numbers"]),
        ({"variants": {"full": {"model.pool_window": (2, 2, "a")}}}, ["give whole numbers"]),
        ({"common": {"data.size_mm": (None, 9, 9)}}, ["data.size_mm", "give numbers for z, y"]),
        ({"variants": {"full": {"model.width": 10**40}}}, ["variant full", "config.model"]),
        ({"variants": {"full": {}, "a": {"w": 1, "grid": {"w": (1,)}}}}, ["w is in the grid too"]),
    ],
)
def test_what_is_wrong_is_named(make, change, words):
    with pytest.raises(UsageError) as error:
        make(FULL | change)
    for word in ["mine.py", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"predict.crop_mm": (24, 24, 24)},
        {"preprocess": {"spacing_mm": 3.0}},
        {"preprocess.antialias": "none"},
    ],
)
def test_segmenters_are_tested_on_the_same_voxels(tmp_path, fields):
    config = vnet.get_config("demo").unlock()
    config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
    variants = {"odd": fields, "full": {}, "near": {"preprocess.crop_mm": (24, 24, 24)}}
    file = tmp_path / "mine.py"

    def make(**sweep):
        sweep = {"base": "full"} | sweep
        file.write_text(f"def get_sweep():\n    return {sweep!r}\n")
        return plan.make(config, file)

    (field,) = (name for name in ("crop_mm", "spacing_mm", "antialias") if name in str(fields))
    with pytest.raises(UsageError, match=rf"variant odd: with another \w+\.{field} it would be"):
        make(variants=variants)
    del variants["odd"]
    assert make(variants=variants, common=fields).base == "full"


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("seeds", (0, 1), "seed"),
        ("folds", 4, "split.folds"),
        ("common", {"train.epochs": 3}, "train.epochs"),
        ("common", {"train": {"epochs": 3}}, "train.epochs"),
    ],
)
def test_a_field_of_the_command_line_that_would_have_no_effect_is_refused(make, key, value, field):
    with pytest.raises(UsageError, match=rf"--config\.{field} .*mine\.py .*by '{key}'"):
        make(FULL | {key: value}, given=["model.width", field])
    assert make(FULL, given=["model.width", field]).base == "full"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("variants", ["a"], "variants is ['a']; it must be a dict"),
        ("variants", {1: {}}, "variants: 1 cannot be the name of a variant"),
        ("variants", {"a": None}, "variant a is None; it must be a dict"),
        ("variants", {"a": "model.se"}, "variant a is 'model.se'; it must be a dict"),
        ("variants", {"a": {3: 1}}, "variant a: 3 cannot be the name of a field"),
        ("variants", {"a": {"grid": ["model.width"]}}, "variant a: grid is ['model.width']"),
        ("variants", {"a": {"grid": {}}}, "variant a: grid is empty"),
        ("variants", {"a": {"grid": {"model.width": 8}}}, "grid, model.width is 8; give a list"),
        ("variants", {"a": {"grid": {"model.width": ()}}}, "grid, model.width is (); give a list"),
        ("variants", {"a": {"grid": {"model.norm": "batch"}}}, "model.norm is 'batch'; give"),
        ("base", ["full"], "base is ['full']; give the name of a variant"),
        ("seeds", 3, "seeds is 3; give a list"),
        ("seeds", [[1]], "seeds is [[1]]; give a list"),
        ("seeds", [True], "seeds is [True]; give a list"),
        ("folds", "4", "folds is '4'; give a whole number"),
        ("folds", None, "folds is None; give a whole number"),
        ("common", None, "common is None; it must be a dict"),
        ("common", ["model.se"], "common is ['model.se']; it must be a dict"),
        (3, {}, "a key is 3; it must be one of"),
    ],
)
def test_a_value_of_another_kind_is_named_by_its_key(make, key, value, words):
    with pytest.raises(UsageError) as error:
        make(FULL | {key: value})
    assert "mine.py: " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "no function get_sweep"),
        ("get_sweep = 1", "no function get_sweep"),
        ("def get_sweep():\n    return {}['full']", r"get_sweep\(\) fails: KeyError: 'full'"),
        ("def get_sweep():\n    raise SystemExit(3)", r"get_sweep\(\) fails: SystemExit: 3"),
        ("import sys\nsys.exit(3)", "cannot be loaded: SystemExit: 3"),
        ("def get_sweep():\n    return 3", "must return a dict"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(config, tmp_path, text, words):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=words):
        plan.make(config, tmp_path / "mine.py")
    with pytest.raises(UsageError, match="no such file"):
        plan.make(config, tmp_path / "none.py")


@pytest.mark.parametrize(
    ("file", "config", "variants"),
    [
        ("study", senet.get_config(), 24),
        ("demo", senet.get_config("demo"), 4),
        ("vnet", vnet.get_config(), 22),
    ],
)
def test_the_sweeps_of_the_project_fit_their_configurations(file, config, variants, monkeypatch):
    """The shapes of the first two: each network takes a second to trace."""
    traced, check = [], checks.check

    def first_two(config):
        traced.append(config)
        if len(traced) <= 2:
            check(config)

    monkeypatch.setattr(plan.checks, "check", first_two)
    found = plan.make(config, f"configs/sweeps/{file}.py")
    assert len(found.variants) == len(traced) == variants
    assert found.variants[found.base] == {}
    named = {repr(sorted(fields.items())) for fields in found.variants.values()}
    assert len(named) == variants  # none twice
