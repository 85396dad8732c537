"""What a sweep refuses before its first trial, for the data are needed to see it."""

import pytest

from configs import senet
from dtc_jax.errors import InputError
from dtc_jax.runs import sweep


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
