"""The configurations: their values, what each variant must be able to do, and their docstrings."""

import json
import pathlib
import re
import runpy
import subprocess
import sys

import jax
import pytest

from configs import candidates, pipeline, senet, vnet
from dtc_jax.experiment import checks
from dtc_jax.tasks import classification, segmentation

ROOT = pathlib.Path(senet.__file__).parents[1]
VALUES = json.loads((pathlib.Path(__file__).parent / "values.json").read_text())
FILES = {"senet": senet, "vnet": vnet, "candidates": candidates, "pipeline": pipeline}


def get(name):
    file, _, variant = name.partition(":")
    return FILES[file].get_config(variant)


def plain(config):
    """As in config.json: tuples become lists."""
    return json.loads(json.dumps(config.to_dict()))


@pytest.mark.parametrize("name", VALUES)
def test_no_value_changes_unnoticed(name, monkeypatch):
    """values.json holds all of them; a change that is meant goes there, too."""
    monkeypatch.delenv("DTC_JAX_DATA", raising=False)
    assert plain(get(name)) == VALUES[name]


@pytest.mark.parametrize("name", [name for name in VALUES if name.startswith("senet")])
def test_candidates_share_no_field(name):
    """Or --config.candidates.near.… would change another one as well."""
    sections = [each[key] for each in get(name).candidates.values() for key in each]
    assert len({id(section) for section in sections}) == len(sections)


def test_values_json_has_every_variant():
    files = ("senet", "vnet", "candidates")
    variants = {f"{f}:{v}" if v else f for f in files for v in FILES[f]._VARIANTS}
    assert {name for name in VALUES if not name.startswith("pipeline")} == variants


@pytest.mark.parametrize("name", [name for name in VALUES if not name.startswith("pipeline")])
def test_every_variant_passes_the_checks_before_a_run(name):
    config = get(name).unlock()
    config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
    checks.check(config)


def test_the_papers_networks_have_their_parameters():
    def count(task, config):
        shapes, _ = jax.eval_shape(task.make_task(config).init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    assert count(classification, senet.get_config()) == 14_509_297
    assert count(segmentation, vnet.get_config("paper")) == 43_959_414


@pytest.mark.parametrize("file", FILES)
def test_the_docstring_names_every_variant_with_its_command(file):
    text = FILES[file].__doc__
    for name in (name for name in VALUES if name.split(":")[0] == file):
        variant = name.partition(":")[2]
        assert f"\n{variant or '(none)'}: " in text, name
        command = f"configs/{file}.py" + (f":{variant}" if variant else "")
        assert re.search(rf"^ +.*launch\.py .*--config={command}(\s|$)", text, re.MULTILINE), name


@pytest.mark.parametrize("file", FILES)
def test_an_unknown_variant_is_refused_by_name(file):
    with pytest.raises(ValueError, match=rf"configs/{file}\.py has no variant 'dem'.*'demo'"):
        FILES[file].get_config("dem")


def test_a_config_is_plain_data_and_locked():
    config = runpy.run_path(str(ROOT / "configs" / "senet.py"))["get_config"]("demo")
    with pytest.raises(AttributeError, match="widht"):
        config.model.widht = 3


def test_importing_the_configs_does_nothing_else(tmp_path):
    """No JAX, no file: they are imported before anything is known to be right."""
    code = (
        "import sys; from configs import pipeline; pipeline.get_config('demo'); "
        "sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False
    )
    assert process.returncode == 0
    assert not list(tmp_path.iterdir())
