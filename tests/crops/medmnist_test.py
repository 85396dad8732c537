import numpy as np
import pytest

from dtc_jax.crops import medmnist
from dtc_jax.errors import InputError


def _arrays(side=6):
    rng = np.random.default_rng(0)
    arrays = {}
    for key, count in (("train", 5), ("val", 2), ("test", 3)):
        images = rng.integers(0, 2, (count, side, side, side), np.uint8) * np.uint8(255)
        arrays |= {f"{key}_images": images, f"{key}_labels": np.arange(count)[:, None] % 2}
    return arrays


def _save(path, arrays):
    np.savez(path, **arrays)
    return path


def test_records_and_labels_keep_the_official_split_and_order(tmp_path):
    arrays = medmnist.read_npz(_save(tmp_path / "x.npz", _arrays()))
    table = medmnist.table(arrays)
    assert table.split.tolist() == ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    assert table.label.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0]
    pieces = medmnist.cubes(arrays, at_once=2)
    records = [
        one for parts in pieces.values() for piece in parts for one in medmnist.records(piece)
    ]
    assert [one["lesion_id"] for one in records] == table.lesion_id.tolist()
    assert all(one["patient_id"] == one["lesion_id"] for one in records)
    np.testing.assert_array_equal(records[6]["image"], arrays["val_images"][1])


def test_an_empty_image_is_named():
    piece = medmnist.Cubes("test", 7, np.zeros((1, 4, 4, 4), np.uint8))
    (error,) = medmnist.records(piece)
    assert isinstance(error, InputError)
    assert "test-0007" in str(error)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a.pop("val_labels"), "val_labels"),
        (lambda a: a.update(test_labels=a["test_labels"][:2]), "test_labels"),
        (lambda a: a.update(test_labels=a["test_labels"] + 1), "test_labels"),
        (lambda a: a.update(train_labels=np.zeros((5, 2))), "train_labels"),
        (lambda a: a.update(train_images=a["train_images"][..., 0]), "train_images"),
        (lambda a: a.update(train_images=a["train_images"] * 1.0), "float64"),
        (lambda a: a.update(val_images=_arrays(5)["val_images"]), "different shapes"),
    ],
)
def test_another_form_is_refused_by_name(tmp_path, change, word):
    arrays = _arrays()
    change(arrays)
    with pytest.raises(InputError, match=word):
        medmnist.read_npz(_save(tmp_path / "x.npz", arrays))


def test_missing_and_damaged_files_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        medmnist.read_npz(tmp_path / "none.npz")
    path = _save(tmp_path / "x.npz", _arrays())
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"text",
        whole[: len(whole) // 2],
        whole[:300] + b"\0" * 300 + whole[600:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"x\.npz: damaged"):
            medmnist.read_npz(path)
