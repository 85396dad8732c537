"""Batches from record files that TFDS wrote: order, positions, tails, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds

from dtc_jax.errors import InputError
from dtc_jax.training import batches

SHAPE = (3, 4, 5)
SPLITS = {"train": 8, "validation": 2, "test": 3}  # 13 records in several splits
N = sum(SPLITS.values())


def _write(folder, lesion_ids):
    """A built dataset whose record i is filled with i."""

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder  # a builder class outside of a package of its own

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=SHAPE, dtype=np.int16, encoding="bytes"),
                    "mask": tfds.features.Tensor(shape=SHAPE, dtype=np.uint8, encoding="bytes"),
                    "extent": tfds.features.Tensor(shape=(3, 2), dtype=np.int32),
                    "lesion_id": tfds.features.Text(),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            starts = np.cumsum([0, *SPLITS.values()])
            return {
                name: self._generate_examples(range(start, start + n))
                for (name, n), start in zip(SPLITS.items(), starts, strict=False)
            }

        def _generate_examples(self, numbers):
            for i in numbers:
                yield (
                    int(i),
                    {
                        "image": np.full(SHAPE, i, np.int16),
                        "mask": np.full(SHAPE, i % 2, np.uint8),
                        "extent": np.array([[0, 3], [0, 4], [0, 5]], np.int32),
                        "lesion_id": f"lesion-{i}",
                    },
                )

    tfds.disable_progress_bar()
    builder = Tiny(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    pd.DataFrame({"lesion_id": lesion_ids}).to_csv(f"{builder.data_dir}/lesions.csv", index=False)
    return builder.data_dir


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("built"), [f"lesion-{i}" for i in range(N)])


@pytest.fixture(scope="module")
def records(folder):
    return batches.Records(folder)


@pytest.fixture
def view():
    positions = np.array([12, 0, 3, 5, 7, 8, 9, 10])
    weights = np.ones(len(positions), np.float32)
    return batches.View(positions, (positions % 2).astype(np.float32), weights)


def _take(iterator, n):
    return [next(iterator) for _ in range(n)]


def _index(rows):
    return [batch["index"].tolist() for batch in rows]


def test_records_lie_in_the_order_of_lesions_csv(records):
    assert len(records) == N
    assert [int(records[i]["image"][0, 0, 0]) for i in range(N)] == list(range(N))
    assert records[12]["image"].dtype == np.int16
    assert records[12]["mask"].dtype == np.uint8


def test_the_cache_has_a_limit(folder, records, monkeypatch):
    of_one = sum(array.nbytes for array in records[0].values())
    monkeypatch.setattr(batches, "_MOST_CACHED", 3 * of_one)
    cached = batches.Records(folder, cache=True)
    first = [cached[i] for i in range(N)]
    kept = [cached[i]["image"] is first[i]["image"] for i in range(N)]
    assert kept == [True] * 3 + [False] * (N - 3)
    for i in range(N):
        np.testing.assert_array_equal(cached[i]["image"], first[i]["image"])


def test_cache_gives_the_same_records_without_reading_twice(folder, records):
    cached = batches.Records(folder, cache=True)
    first = cached[5]
    assert cached[5]["image"] is first["image"]
    np.testing.assert_array_equal(first["image"], records[5]["image"])


def test_a_training_batch_has_the_types_and_the_rows_of_its_index(records, view):
    batch = next(batches.train_batches(records, view, 4, seed=0))
    kinds = {name: (value.dtype.name, value.shape) for name, value in batch.items()}
    assert kinds == {
        "image": ("int16", (4, *SHAPE)),
        "mask": ("uint8", (4, *SHAPE)),
        "extent": ("int32", (4, 3, 2)),
        "label": ("float32", (4,)),
        "weight": ("float32", (4,)),
        "index": ("int32", (4,)),
        "valid": ("float32", (4,)),
    }
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
    np.testing.assert_array_equal(batch["label"], batch["index"] % 2)
    assert batch["valid"].all()


def test_every_epoch_is_a_permutation_of_its_own_without_the_remainder(records, view):
    rows = _index(_take(batches.train_batches(records, view, 3, seed=0), 8))
    # Of 8 examples, two batches of 3 an epoch.
    epochs = [rows[i] + rows[i + 1] for i in range(0, 8, 2)]
    for epoch in epochs:
        assert len(set(epoch)) == 6
        assert set(epoch) <= set(view.positions.tolist())
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_depends_on_the_seed_but_not_on_workers_or_cache(folder, records, view):
    rows = _index(_take(batches.train_batches(records, view, 4, seed=3, workers=0), 6))
    cached = batches.Records(folder, cache=True)
    assert rows == _index(_take(batches.train_batches(cached, view, 4, seed=3, workers=4), 6))
    assert rows != _index(_take(batches.train_batches(records, view, 4, seed=4, workers=0), 6))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restored_position_goes_on_with_the_same_batches(records, view, workers):
    iterator = batches.train_batches(records, view, 3, seed=1, workers=workers)
    for done in range(5):  # within and between epochs
        state = iterator.get_state()
        expected = _take(iterator, 3)
        other = batches.train_batches(records, view, 3, seed=1, workers=2 - workers)
        other.set_state(state)
        for a, b in zip(expected, _take(other, 3), strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=f"{done} {name}")
        iterator.set_state(state)
        next(iterator)


def test_evaluation_sees_every_example_once_and_pads_the_tail(records, view):
    rows = list(batches.eval_batches(records, view, 3))
    assert [len(batch["valid"]) for batch in rows] == [3, 3, 3]
    valid = np.concatenate([batch["valid"] for batch in rows]) > 0
    index = np.concatenate([batch["index"] for batch in rows])
    label = np.concatenate([batch["label"] for batch in rows])
    assert valid.tolist() == [True] * 8 + [False]
    np.testing.assert_array_equal(index[valid], view.positions)
    np.testing.assert_array_equal(label[valid], view.labels)


def test_a_folder_without_a_built_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="build it again"):
        batches.Records(tmp_path)


def test_records_in_another_order_than_lesions_csv_are_refused(tmp_path):
    swapped = [f"lesion-{i}" for i in [*range(8, N), *range(8)]]
    with pytest.raises(InputError, match=r"record 0 is lesion-0, but .* lesion-8"):
        batches.Records(_write(tmp_path, swapped))


def test_more_rows_than_records_are_refused(tmp_path):
    with pytest.raises(InputError, match="13 records, but 14 rows"):
        batches.Records(_write(tmp_path, [f"lesion-{i}" for i in range(N + 1)]))


@pytest.mark.parametrize("count", [2, 4])
def test_processes_have_together_the_batches_of_one(records, view, count):
    def joined(parts):
        for own in zip(*parts, strict=True):
            yield {name: np.concatenate([batch[name] for batch in own]) for name in own[0]}

    whole = _take(batches.train_batches(records, view, 4, seed=3), 6)
    shared = [
        _take(batches.train_batches(records, view, 4, seed=3, rank=(i, count)), 6)
        for i in range(count)
    ]
    together = list(joined(shared))
    for got, wanted in zip(together, whole, strict=True):
        assert got.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(got[name], wanted[name])
    for epoch in range(3):  # of two batches
        indices = np.concatenate(_index(together[2 * epoch : 2 * epoch + 2]))
        assert sorted(indices) == sorted(view.positions)
    parts = [batches.eval_batches(records, view, 12, (i, count)) for i in range(count)]
    (last,) = joined(parts)
    assert last["index"][last["valid"] > 0].tolist() == view.positions.tolist()
    assert len(last["valid"]) == 12


def test_another_number_of_processes_goes_on_where_four_stopped(records, view):
    four = batches.train_batches(records, view, 4, seed=3, rank=(2, 4))
    one = batches.train_batches(records, view, 4, seed=3)
    expected = _index(_take(batches.train_batches(records, view, 4, seed=3), 5))
    _take(four, 3)
    one.set_state(four.get_state())
    assert _index(_take(one, 2)) == expected[3:]
