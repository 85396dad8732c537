"""The documentation says what is there: commands, flags, variants, fields, columns and links."""

import argparse
import pathlib
import re
import subprocess

import pytest
from absl import flags

import launch
from configs import candidates, pipeline, senet, vnet
from datasets import build
from dtc_jax.cohort import manifest, selection
from dtc_jax.prediction import answer, batch, changes, requests
from dtc_jax.report.review import decisions
from dtc_jax.statistics import predictions_table
from dtc_jax.sweep import plan
from dtc_jax.tasks import fields, lesion_figures

ROOT = pathlib.Path(launch.__file__).parent
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
CONFIGS = {"senet": senet, "vnet": vnet, "candidates": candidates, "pipeline": pipeline}
PIPELINE = ("", "demo")


def flat(fields, prefix=""):
    """Full names of all fields; `candidates` and `auxiliary` are one each, whatever is inside."""
    for key, value in fields.items():
        if isinstance(value, dict) and value and key not in ("candidates", "auxiliary"):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def variants(name):
    return PIPELINE if name == "pipeline" else tuple(CONFIGS[name]._VARIANTS)


def all_fields():
    found = set()
    for name in CONFIGS:
        for variant in variants(name):
            found |= set(flat(CONFIGS[name].get_config(variant).to_dict()))
    return found


def first_cells(text, head):
    """The names in the first column of the tables whose first head begins with `head`."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        if rows[0].split("|")[1].strip().startswith(head):
            for row in rows[2:]:
                yield from re.findall(r"`([^`]+)`", row.split("|")[1])


@pytest.mark.parametrize("page", PAGES)
def test_every_mode_and_flag_exists(page):
    known = {*flags.FLAGS[launch._MODE.name].parser.enum_values}
    assert set(re.findall(r"--mode=(\w+)", PAGES[page])) <= known
    builder = {
        option.lstrip("-")
        for action in build._parser()._actions
        if isinstance(action, argparse.Action)
        for option in action.option_strings
    }
    others = {"logdir", "help", "no-deps"}  # of TensorBoard; of launch.py itself; of pip
    others |= {
        "clients",
        "requests",
        "fields",
        "cohorts",
        "patients",
        "kills",
        "stages",
        "full",
        "memory",
        *("first", "only", "start", "without"),
        *("phantom", "table", "name"),
        *("networks", "batches", "repeats"),
    }  # of the benchmarks
    others |= {"tag", "build-arg", "rm", "network", "user", "volume", "gpus", "net", "nv"}  # Docker
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z_-]*)(?=[=\s`)\]]|$)", PAGES[page]))
    own = {name for name in flags.FLAGS if flags.FLAGS[name].help is not None}
    assert named - own - builder - others == set()


def test_the_readme_names_every_mode():
    modes = set(flags.FLAGS[launch._MODE.name].parser.enum_values)
    assert set(re.findall(r"--mode=(\w+)", PAGES["README.md"])) | {"train"} == modes


@pytest.mark.parametrize("page", PAGES)
def test_every_config_variant_and_field_exists(page):
    for name, variant in re.findall(r"configs/(\w+)\.py(?:\[?:([a-z-]+))?", PAGES[page]):
        assert variant in variants(name), (name, variant)
    for field in re.findall(r"--config\.([a-z_0-9.]+?)=", PAGES[page]):
        assert re.sub(r"^(segmenter|classifier)\.", "", field) in all_fields(), field


@pytest.mark.extras
def test_every_sweep_fits_its_configuration(monkeypatch):
    monkeypatch.chdir(ROOT)
    command = r"--config=configs/(\w+)\.py(?::([a-z-]+))? --sweep=(configs/sweeps/\w+\.py)"
    named = {found for text in PAGES.values() for found in re.findall(command, text)}
    assert len(named) > 1
    for name, variant, file in named:
        config = CONFIGS[name].get_config(variant)
        with config.unlocked():
            config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
        plan.make(config, file)


def test_every_field_is_described_and_no_other():
    described = list(first_cells(PAGES["configuration.md"], "field"))
    assert len(described) == len(set(described))
    both = {re.sub(r"^(segmenter|classifier)\.", "", field) for field in all_fields()}
    assert set(described) == both


def test_the_fields_that_may_change_are_marked():
    marked = set(re.findall(r"^\| `([\w.]+)` \* \|", PAGES["configuration.md"], re.MULTILINE))
    assert marked == set(fields.FREE)


def test_the_variants_of_each_file_are_listed():
    for name in CONFIGS:
        (row,) = re.findall(rf"^\| `configs/{name}\.py` \|(.*)\|$", PAGES["configuration.md"], re.M)
        assert set(re.findall(r"`([a-z-]+)`", row)) == set(variants(name)) - {""}


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        (
            "your-data.md",
            {*manifest.REQUIRED, *manifest._OPTIONAL, *selection.EVIDENCE},
        ),
        (
            "predict-and-review.md",
            {
                *(*answer.COLUMNS, *requests._COLUMNS, *batch.COLUMNS),
                *(*decisions.COLUMNS, *changes._COLUMNS),
            },
        ),
        ("statistics.md", {*lesion_figures._COLUMNS, *predictions_table.REQUIRED}),
    ],
)
def test_the_columns_are_those_of_the_code(page, columns):
    assert set(first_cells(PAGES[page], "column")) == columns


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = target.partition("#")
        path = folder / (name or page)
        assert path.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_project_that_is_named_exists(page):
    for name in re.findall(r"`((?:benchmarks|configs|tests|docs)/[\w/.-]+\.\w+)", PAGES[page]):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/slurm/*.sbatch")), ids=lambda p: p.name)
def test_the_job_files_are_bash_and_their_flags_exist(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    (command,) = re.findall(r"launch\.py ((?:.*\\\n)*.*)", path.read_text())
    named = set(re.findall(r"--([a-z_]+)=", command))
    assert named
    assert named <= set(flags.FLAGS)
    for option in re.findall(r"^#SBATCH (\S+)", path.read_text(), re.MULTILINE):
        assert re.fullmatch(r"--[a-z-]+(=\S+)?", option)


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 120


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_make_targets_exist(target):
    assert f"make {target} " in PAGES["README.md"]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
