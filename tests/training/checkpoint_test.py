"""Checkpoints survive what happens to disks: damage, no space, a kill in the middle."""

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.training import checkpoint, damage, state


def _state(tiny, ema):
    created = jax.jit(lambda: state.create(tiny.task, tiny.optimizer, seed=1, ema=ema))()
    created = jax.device_get(created)
    if ema:
        created = created.replace(ema=jax.tree.map(lambda x: x + 1, created.params))
    return created


@pytest.fixture(scope="module")
def saved_state(tiny):
    return _state(tiny, ema=True)


def _at(saved, step):
    params = jax.tree.map(lambda x: x + np.float32(step), saved.params)
    return saved.replace(step=np.int32(step), params=params)


def _save(folder, saved, steps, best_step=None):
    with checkpoint.Checkpoints(folder) as checkpoints:
        for step in steps:
            best = best_step if best_step in checkpoints.steps() or step == best_step else None
            checkpoints.save(_at(saved, step), {"rows": step, "batches": {"position": 3}}, best)
        checkpoints.wait()
        return checkpoints.steps()


def _restore(folder, like):
    with checkpoint.Checkpoints(folder) as checkpoints:
        return checkpoints.restore(jax.eval_shape(lambda: like))


@pytest.mark.parametrize("ema", [True, False])
def test_restoring_gives_back_every_bit(tiny, tmp_path, ema):
    saved_state = _state(tiny, ema)
    _save(tmp_path, saved_state, [4])
    got, progress = _restore(tmp_path, saved_state)
    wanted = _at(saved_state, 4)
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert progress == {"rows": 4, "batches": {"position": 3}}


def test_an_empty_folder_restores_nothing(tmp_path, saved_state):
    assert _restore(tmp_path / "new", saved_state) is None


def test_two_latest_and_the_best_are_kept(tmp_path, saved_state):
    assert _save(tmp_path, saved_state, [1, 2, 3, 4, 5], best_step=2) == [2, 4, 5]
    model = checkpoint.read_model(tmp_path, 2)
    jax.tree.map(np.testing.assert_array_equal, model.params, _at(saved_state, 2).evaluated_params)
    jax.tree.map(np.testing.assert_array_equal, model.batch_stats, saved_state.batch_stats)
    assert checkpoint.read_progress(tmp_path)["rows"] == 5


def test_a_step_is_written_again_with_more_progress(tmp_path, saved_state):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        for rows in (1, 2):
            checkpoints.save(_at(saved_state, 7), {"rows": rows}, None)
    assert _restore(tmp_path, saved_state)[1] == {"rows": 2}


def _truncate_largest(folder):
    largest = max(
        (p for p in folder.rglob("*") if p.is_file()), key=lambda path: path.stat().st_size
    )
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def _flip_a_bit(folder):
    """Of the last data file, in its middle."""
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _flip_a_bit(folder / "model"),
        lambda folder: _flip_a_bit(folder / "trainer"),
        lambda folder: _truncate_largest(folder / "model"),
        lambda folder: _truncate_largest(folder / "trainer"),
        lambda folder: (folder / "progress" / "metadata").write_text('{"rows": '),
        lambda folder: shutil.rmtree(folder / "model"),
        lambda folder: (shutil.rmtree(folder), folder.mkdir()),
    ],
    ids=["bit of model", "bit of trainer", "model", "trainer", "progress", "item missing", "empty"],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, saved_state, damage, capsys):
    _save(tmp_path, saved_state, [3, 6])
    damage(tmp_path / "6")
    got, progress = _restore(tmp_path, saved_state)
    assert "Skipped a damaged checkpoint: step 6" in capsys.readouterr().err
    assert int(got.step) == progress["rows"] == 3
    assert checkpoint.read_progress(tmp_path)["rows"] == 3
    assert _save(tmp_path, saved_state, [6]) == [3, 6]
    assert _restore(tmp_path, saved_state)[1]["rows"] == 6


def test_values_that_are_not_those_saved_are_damage_even_where_they_read_well(saved_state):
    whole = damage.hash_of(saved_state.params)
    damage.check_hash("model", saved_state.params, {"model": whole})
    other = jax.tree.map(np.copy, saved_state.params)
    jax.tree.leaves(other)[0].view(np.uint8).flat[0] ^= 1
    with pytest.raises(ValueError, match="bits have changed"):
        damage.check_hash("model", other, {"model": whole})


def test_all_damaged_says_what_to_do_and_removes_nothing(tmp_path, saved_state):
    _save(tmp_path, saved_state, [3, 6])
    for step in ("3", "6"):
        _truncate_largest(tmp_path / step / "model")
    with pytest.raises(InputError, match=r"no checkpoint can be read\. Delete this folder"):
        _restore(tmp_path, saved_state)
    assert (tmp_path / "3").is_dir()
    assert (tmp_path / "6").is_dir()


def test_a_checkpoint_cut_off_while_written_is_ignored(tmp_path, saved_state):
    _save(tmp_path, saved_state, [3])
    shutil.copytree(tmp_path / "3", tmp_path / "6.orbax-checkpoint-tmp")
    assert int(_restore(tmp_path, saved_state)[0].step) == 3
    assert _save(tmp_path, saved_state, [6]) == [3, 6]
    assert not (tmp_path / "6.orbax-checkpoint-tmp").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path, saved_state):
    _save(tmp_path, saved_state, [3])
    wider = jax.tree.map(lambda x: np.zeros((2, *np.shape(x)), np.float32), saved_state)
    with pytest.raises(InputError, match=r"does not match the config: .* has shape"):
        _restore(tmp_path, wider)


# In a process of its own: Orbax's threads go on failing for a while after the error is raised.
_SAVE_TO_A_FULL_DISK = """
import resource, sys
import numpy as np
from dtc_jax.errors import InputError
from dtc_jax.training import checkpoint, damage, state

def at(step):
    weights = {"w": np.random.default_rng(0).random((300, 300))}
    return state.TrainState(np.int32(step), weights, {}, (), None, np.int32(-1))

try:
    with checkpoint.Checkpoints(sys.argv[1]) as checkpoints:
        checkpoints.save(at(3), {"rows": 3}, None)
        checkpoints.wait()
        # No file may grow further: the kernel fails writes as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        checkpoints.save(at(6), {"rows": 6}, None)
        checkpoints.wait()
except InputError as error:
    print(error)
"""


def test_a_full_disk_is_an_input_error_and_spares_the_checkpoint_before(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _SAVE_TO_A_FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no space left on the disk" in done.stdout
    assert "ERROR" not in done.stderr  # one clear message, not a traceback from each thread
    assert checkpoint.read_progress(tmp_path) == {"rows": 3}
    assert checkpoint.read_model(tmp_path, 3).params["w"].shape == (300, 300)


def test_reading_what_is_not_there_says_so(tmp_path):
    with pytest.raises(InputError, match="no checkpoint of step 5"):
        checkpoint.read_model(tmp_path, 5)
    with pytest.raises(InputError, match="no readable checkpoint"):
        checkpoint.read_progress(tmp_path / "none")


@pytest.mark.parametrize("name", ["a[1]", "back\\slash", "**", "x?{y}\n%20 é肺", "\udcff"])
def test_whatever_a_file_system_takes_is_a_workdir(saved_state, tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    _save(folder, saved_state, [4])
    assert (folder / "4").is_dir()
    got, _ = _restore(folder, saved_state)
    jax.tree.map(np.testing.assert_array_equal, got, _at(saved_state, 4))
    assert checkpoint.read_progress(folder)["rows"] == 4
    assert checkpoint.read_model(folder, 4).step == 4
