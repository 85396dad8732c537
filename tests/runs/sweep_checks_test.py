"""What a sweep or a run refuses before its first training, for the data are needed to see it."""

import pathlib
import shutil

import pandas as pd
import pytest

from configs import senet
from dtc_jax.errors import InputError
from dtc_jax.runs import sweep, train
from dtc_jax.tasks import classification


@pytest.fixture(scope="module")
def config(study, tmp_path_factory):
    config = senet.get_config("demo").unlock()
    folder = str(tmp_path_factory.mktemp("data"))
    config.data.update(source="manifest", manifest=str(study), folder=folder, size_mm=(16, 16, 16))
    config.preprocess.crop_mm = (16, 16, 16)
    config.model.update(width=4, stages=1)
    config.train.batch_size = 8
    return config.lock()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss.class_weight": "even"}, "config.loss.class_weight is 'even'"),
        ({"loss.graded": "uptake"}, "uptake"),
        ({"loss.lesion_weight": "weight"}, "weight"),
        ({"train.batch_size": 512}, "config.train.batch_size is 512"),
        ({"init_from": "no-run"}, "no-run"),
        ({"candidates": {"a": {"loss": {"graded": "uptake"}}}}, "uptake"),
    ],
)
def test_a_trial_that_could_not_begin_is_refused_by_its_variant(config, tmp_path, fields, words):
    variants = {"full": {}, "odd": fields}
    (tmp_path / "mine.py").write_text(
        f"def get_sweep():\n    return {{'base': 'full', 'variants': {variants!r}}}\n"
    )
    with pytest.raises(InputError, match=r"^variant odd: ") as error:
        sweep.run(config, tmp_path / "mine.py", tmp_path / "out", program=["launch.py"])
    assert words in str(error.value)
    assert not (tmp_path / "out" / "trials").exists()


def test_a_rating_that_a_later_fold_cannot_read_is_refused_before_the_first(config, tmp_path):
    config = config.copy_and_resolve_references().unlock()
    config.split.folds, config.train.epochs = 3, 1
    config.loss.auxiliary = {"texture": 0.1}
    rows = classification.split(config, classification.load(config).table)
    of_first = rows[(rows.fold == 0) & (rows.split == "test")].lesion_id.iloc[0]
    table = pd.read_csv(config.data.manifest, dtype=str)
    table["texture"] = [str(number % 5 + 1) for number in range(len(table))]
    table.loc[table.lesion_id == of_first, "texture"] = "3-4"
    folder = shutil.copytree(pathlib.Path(config.data.manifest).parent, tmp_path / "study")
    table.to_csv(folder / "lesions.csv", index=False)
    config.data.manifest = str(folder / "lesions.csv")
    with pytest.raises(InputError, match="texture"):
        train.run(config, tmp_path / "run", announce_cost=False)
    assert not (tmp_path / "run").exists()  # so that the corrected manifest can be trained there
