import concurrent.futures
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn import metrics

from dtc_jax import storage
from dtc_jax.cohort import manifest, phantom, selection
from dtc_jax.cohort.phantom import lesion, people, scan
from dtc_jax.cohort.phantom.grid import Grid
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import lesions, volume

SMALL = phantom.PhantomSpec(
    patients=4,
    external_patients=1,
    matrix=(80, 100, 134),
    spacing_mm=(1.5, 1.5, 1.5),
    ineligible=0.0,
    oblique=0.5,
)
RULES = types.SimpleNamespace(per_patient=5, draw_cohorts=("primary",), seed=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> pathlib.Path:
    return phantom.generate(tmp_path_factory.mktemp("phantom") / "cohort", SMALL)


@pytest.fixture(scope="module")
def people_of_a_large_cohort() -> pd.DataFrame:
    return people.draw(phantom.PhantomSpec(patients=3000, external_patients=300))


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_manifest_is_valid_and_masks_are_exact(path):
    table = manifest.read_manifest(path)
    assert set(table.cohort) == {"primary", "external"}
    orientations = set()
    for image, rows in table.groupby("image"):
        ct = volume.read_image(image)
        assert ct.array.dtype == np.int16
        orientations.add(tuple(np.sign(np.round(ct.affine[:3, :3], 2)).ravel()))
        covered = np.zeros(ct.shape, int)
        for row in rows.itertuples():
            mask = volume.read_mask(row.mask, ct, int(row.mask_label))
            assert lesions.components(mask.array).max() == 1
            measures = lesions.measure(ct, mask)
            assert measures.diameter_mm == pytest.approx(row.diameter_mm, abs=0.01)
            near, far = (ndimage.binary_dilation(mask.array, iterations=n) for n in (2, 3))
            # Inside a lung: what surrounds a lesion is lung for the most part.
            assert np.median(ct.array[far & ~near]) < -600
            covered += ndimage.binary_dilation(mask.array)
        assert covered.max() == 1  # lesions do not touch
    assert len(orientations) > 1  # some of the scans are oblique


def test_scans_look_like_a_chest(path):
    table = manifest.read_manifest(path)
    hu = volume.read_image(table.image[0]).array
    middle = hu[hu.shape[0] // 2]
    shares = [((middle > a) & (middle < b)).mean() for a, b in ((-950, -750), (-40, 150))]
    assert shares[0] > 0.15  # lung
    assert shares[1] > 0.15  # soft tissue
    assert (hu > 250).mean() > 0.005  # bone
    assert hu[:, [0, -1]].max() < -850  # air around the body


def test_same_seed_gives_the_same_files_on_any_number_of_processors(path, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    again = phantom.generate(tmp_path / "again", SMALL)
    assert files(again.parent) == files(path.parent)
    other = people.draw(dataclasses.replace(SMALL, seed=1))
    assert other.score.tolist()[:3] != people.draw(SMALL).score.tolist()[:3]


def test_generates_once_and_never_over_something_else(path, tmp_path):
    before = path.stat().st_mtime_ns
    assert phantom.generate(path.parent, SMALL) == path
    assert path.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"seed 0 instead of 7.*choose another folder"):
        phantom.generate(path.parent, dataclasses.replace(SMALL, seed=7))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not a phantom cohort"):
        phantom.generate(tmp_path, SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(volume, "write", full)
    with pytest.raises(InputError, match="no space left"):
        phantom.generate(tmp_path / "cohort", SMALL)
    assert not list(tmp_path.iterdir())


GENERATE = f"""
import pathlib, signal, sys
from dtc_jax.cohort import phantom
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as launch.py does
phantom.generate(pathlib.Path(sys.argv[1]), phantom.{SMALL!r})
"""


@pytest.mark.extras
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_generation_goes_on_where_it_was(path, tmp_path, monkeypatch, number):
    data = tmp_path / "data"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", GENERATE, str(data / "cohort")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not (notes := list(data.glob(".unfinished-*/finished/*.json"))):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(number)
    assert running.returncode != 0
    (unfinished,) = data.iterdir()
    assert unfinished.name == f".unfinished-{phantom.fingerprint(SMALL)[:12]}"
    notes = list(unfinished.glob("finished/*.json"))
    (unfinished / "scans" / ".partial-of-the-killed").mkdir()
    written, write = [], scan.write
    monkeypatch.setattr(scan, "write", lambda *a: written.append(a) or write(*a))
    phantom.generate(data / "cohort", SMALL)
    assert 0 < len(written) == 5 - len(notes)
    assert [entry.name for entry in data.iterdir()] == ["cohort"]
    assert files(data / "cohort") == files(path.parent)


@pytest.mark.extras
def test_two_generations_at_once_generate_once(path, tmp_path, monkeypatch, capsys):
    written, write = [], scan.write
    monkeypatch.setattr(scan, "write", lambda *a: written.append(a) or write(*a))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(phantom.generate, tmp_path / "cohort", SMALL) for _ in range(2)]
        assert {one.result() for one in both} == {tmp_path / "cohort" / "lesions.csv"}
    assert len(written) == 5
    assert capsys.readouterr().err.count("waiting for another") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["cohort"]
    assert files(tmp_path / "cohort") == files(path.parent)


@pytest.mark.extras
def test_another_specification_takes_nothing_of_an_unfinished_one(tmp_path, monkeypatch):
    def stop(*unused):
        raise KeyboardInterrupt

    write = scan.write
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(storage, "write_table", stop)
    with pytest.raises(KeyboardInterrupt):
        phantom.generate(tmp_path / "cohort", SMALL)
    monkeypatch.undo()
    other, written = dataclasses.replace(SMALL, seed=1, patients=1), []
    monkeypatch.setattr(scan, "write", lambda *a: written.append(a) or write(*a))
    phantom.generate(tmp_path / "cohort", other)
    assert len(written) == 2
    assert len(list(tmp_path.glob(".unfinished-*"))) == 1  # it can still be finished


def test_score_has_the_stated_auc_and_correlation(people_of_a_large_cohort):
    table = people_of_a_large_cohort.dropna(subset="label")
    spec = phantom.PhantomSpec()
    auc = metrics.roc_auc_score(table.label, table.score)
    assert auc == pytest.approx(phantom.attainable_auc(spec), abs=0.01)
    assert phantom.attainable_auc(dataclasses.replace(spec, effect=0.0)) == 0.5
    noise = table.score - spec.effect * table.label
    assert noise.std() == pytest.approx(1, abs=0.03)
    # Intra-class correlation as the mean product over all pairs of a patient.
    sums, squares = (values.groupby(table.patient_id).sum() for values in (noise, noise**2))
    n = table.groupby("patient_id").size()
    assert (sums**2 - squares).sum() / (n * (n - 1)).sum() == pytest.approx(spec.icc, abs=0.04)


def test_size_follows_the_study_and_says_nothing_of_the_class(people_of_a_large_cohort):
    table = people_of_a_large_cohort.dropna(subset="label")
    assert table.drawn_mm.mean() == pytest.approx(8.67, abs=0.2)
    assert table.drawn_mm.std() == pytest.approx(5.12, abs=0.2)
    assert table.drawn_mm.between(3, 30).all()
    assert metrics.roc_auc_score(table.label, table.drawn_mm) == pytest.approx(0.5, abs=0.02)
    assert set(table.groupby("patient_id").size()) <= set(range(1, 9))


def test_patients_are_as_asked_for():
    spec = phantom.PhantomSpec(
        patients=100, external_patients=12, both_classes=0.3, prevalence=0.5, indeterminate=0.0
    )
    table = people.draw(spec)
    share = table.groupby(["cohort", "patient_id"]).label.mean()
    assert ((share > 0) & (share < 1)).groupby("cohort").sum().to_dict() == {
        "external": 0,
        "primary": 30,
    }
    assert (share["primary"] == 1).sum() == 35
    assert (share["external"] == 1).sum() == 8
    assert set(table.center[table.cohort == "external"]) == {"B", "C"}


def test_every_criterion_of_the_selection_leaves_somebody_out():
    selected = selection.select(people.draw(phantom.PhantomSpec()), RULES)
    excluded = [s for s in selected.flow if s.kind == "excluded" and s.cohort == "primary"]
    for step in excluded:
        if "without a label" not in step.reason:
            assert step.lesions > 0, step.reason
    assert len(excluded) >= 8
    assert selected.contradictions == []
    assert (selected.table.label_reason != "as given").all()


@pytest.mark.parametrize(("diameter_mm", "least"), [(4.0, 0.88), (12.0, 0.98)])
def test_the_image_shows_the_score_and_the_mask_hides_it(diameter_mm, least):
    spec = phantom.PhantomSpec()
    spacing_mm = spec.spacing_mm
    shown, scores = [], np.linspace(-3, 3, 60)
    for i, score in enumerate(scores):
        rng = np.random.default_rng(i)
        form = lesion.shape(diameter_mm, spacing_mm, rng)
        background = np.full(form.depth_mm.shape, -850, np.float32)
        hu = lesion.render(background, form, score, spacing_mm, rng).astype(np.float32)
        grid = Grid(hu.shape, spacing_mm)
        hu = scan.acquire(hu, grid, scan.protocol(spec, 0), rng)
        depth = ndimage.distance_transform_edt(form.mask, spacing_mm)
        shown.append(-np.median(hu[depth >= np.quantile(depth[form.mask], 0.6)]))
        assert form.diameter_mm == pytest.approx(diameter_mm, abs=0.7)
    assert metrics.roc_auc_score(scores > 0, shown) > least


def test_centers_differ_by_the_shift():
    spec = phantom.PhantomSpec()
    assert scan.protocol(spec, 0).offset_hu == 0
    assert scan.protocol(spec, 0).noise_hu == spec.noise_hu
    assert abs(scan.protocol(spec, 1).offset_hu) >= 15
    assert scan.protocol(spec, 2).slice_mm > spec.spacing_mm[0]
    alike = dataclasses.replace(spec, center_shift=0.0)
    assert scan.protocol(alike, 1) == scan.protocol(alike, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("icc", 1.5), ("patients", 0), ("matrix", (20, 100, 100)), ("spacing_mm", (1.0, -1.0, 1.0))],
)
def test_bad_fields_are_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"phantom.{field}"):
        phantom.PhantomSpec(**{field: value})
