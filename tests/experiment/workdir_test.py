"""A run's folder belongs to what it was started on, and to nothing that was refused."""

import pytest

from configs import vnet
from dtc_jax.errors import InputError
from dtc_jax.experiment import workdir
from dtc_jax.runs import train


def _config(manifest):
    config = vnet.get_config("demo")
    config.data.source, config.data.manifest = "manifest", str(manifest)
    config.data.folder = str(manifest.parent / "data")
    return config


def test_a_refused_start_leaves_no_folder_behind(tmp_path):
    (tmp_path / "empty.csv").write_text("patient_id,lesion_id,image,mask\n")
    for name, words in (("gone.csv", "no such file"), ("empty.csv", "has a header but no rows")):
        with pytest.raises(InputError, match=words):  # and not: of another configuration
            train.run(_config(tmp_path / name), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_refused_call_leaves_what_was_there(tmp_path):
    config, folder = _config(tmp_path / "gone.csv"), tmp_path / "run"
    workdir.claim(folder, config)  # a run that was started when the manifest was still there
    before = (folder / "config.json").read_bytes()
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="no such file"):
        train.run(config, folder)
    assert (folder / "config.json").read_bytes() == before
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="contains files but no config"):
        train.run(config, folder)
    assert (folder / "mine.txt").read_text() == "kept"
