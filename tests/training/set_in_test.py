"""Lesions set into other patches: where, how they blend, which may be given."""

import jax
import numpy as np
import pytest

from dtc_jax.training.set_in import is_whole, set_in

LUNG, BONE = -850.0, 300.0


@pytest.fixture
def batch():
    """A lesion in lung, lung without one, and bone without one. # [3, 9, 9, 9]"""
    target = np.zeros((3, 9, 9, 9), np.float32)
    target[0, 3:6, 3:6, 3:6] = 1
    hu = np.full((3, 9, 9, 9), LUNG, np.float32)
    hu[0] = -700.0  # the lung of the donor differs
    hu[0][target[0] > 0] = 40.0
    hu[2] = BONE
    return hu, target


def run(hu, target, whole=(True, True, True), share=1.0):
    keys = jax.random.split(jax.random.key(0), len(hu))
    return [np.asarray(x) for x in jax.jit(set_in)(keys, hu, target, np.array(whole), share)]


def test_the_lesion_replaces_lung_and_blends_at_its_edge(batch):
    hu, target = run(*batch)
    np.testing.assert_array_equal(target[1], batch[1][0])
    np.testing.assert_allclose(hu[1][target[1] > 0], 40.0, atol=1e-3)
    rim = hu[1, 2, 4, 4]  # next to the mask: between the lungs of both
    assert LUNG < rim < -700.0
    np.testing.assert_allclose(hu[1, 0], LUNG, atol=1e-3)  # beyond it nothing changes


def test_neither_bone_nor_the_donor_is_touched(batch):
    hu, target = run(*batch)
    for i in (0, 2):
        np.testing.assert_array_equal(hu[i], batch[0][i])
        np.testing.assert_array_equal(target[i], batch[1][i])


@pytest.mark.parametrize("case", [{"share": 0.0}, {"whole": (False, True, True)}])
def test_nothing_is_set_in_without_a_share_or_a_whole_lesion(batch, case):
    hu, target = run(*batch, **case)
    np.testing.assert_array_equal(hu, batch[0])
    np.testing.assert_array_equal(target, batch[1])


def test_lesions_that_touch_the_end_of_the_scan_are_not_whole():
    mask = np.zeros((3, 5, 5, 5), bool)
    mask[0, 2, 2, 2] = mask[1, 1, 2, 2] = True
    extent = np.array([[[0, 5]] * 3, [[1, 5], [0, 5], [0, 5]], [[0, 5]] * 3])
    assert is_whole(mask, extent).tolist() == [True, False, True]


def test_a_batch_spread_over_devices_gives_the_same(batch):
    hu, target = (np.concatenate([x, x[:1]]) for x in batch)  # four examples
    keys = jax.random.split(jax.random.key(0), 4)
    whole = np.ones(4, bool)
    expected = set_in(keys, hu, target, whole, 1.0)
    spread = jax.pmap(
        lambda *x: set_in(*x, 1.0, "batch"), axis_name="batch", devices=jax.devices()[:2]
    )(*(x.reshape(2, 2, *x.shape[1:]) for x in (keys, hu, target, whole)))
    for one, other in zip(expected, spread, strict=True):
        np.testing.assert_allclose(one, np.asarray(other).reshape(one.shape), atol=1e-3)
