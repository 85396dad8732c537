"""Lesions set into other patches: where, how they blend, which may be given, which must move."""

import jax
import numpy as np
import pytest

from dtc_jax.training.set_in import is_tight, is_whole, resettle, set_in

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


@pytest.fixture
def tight(batch):
    """The lesion in a cut of five slices, whose ends go on: what `augment` makes of it."""
    hu, target = batch
    inside = np.ones(hu.shape, bool)
    inside[0, :2] = inside[0, 7:] = False
    hu[0, :2] = hu[0, 7:] = 40.0  # it ends within the lesion, which seems to go on
    return hu, target, np.zeros(hu.shape, bool), inside, np.array([True, False, False])


def resettled(hu, target, ignored, inside, tight, share=1.0):
    keys = jax.random.split(jax.random.key(0), len(hu))
    found = jax.jit(resettle)(keys, hu, target, ignored, inside, tight, share)
    return tuple(np.asarray(x) for x in found)


def test_a_tightly_cut_lesion_moves_into_lung(tight):
    hu, _, usable = resettled(*tight)
    assert usable.all()
    np.testing.assert_allclose(hu[0][tight[1][0] > 0], 40.0, atol=1e-3)
    np.testing.assert_allclose(hu[0, :2], LUNG, atol=1e-3)  # not what went on beyond the image
    np.testing.assert_allclose(hu[0, 7:], LUNG, atol=1e-3)
    assert LUNG < hu[0, 4, 4, 2] < -700.0  # its own rim is taken along
    np.testing.assert_array_equal(hu[1:], tight[0][1:])


def test_what_is_ignored_comes_with_the_new_surroundings(tight):
    hu, target, ignored, inside, is_cut = tight
    ignored[1, 0] = True
    _, found, _ = resettled(hu, target, ignored, inside, is_cut)
    np.testing.assert_array_equal(found[0], ignored[1])


@pytest.mark.parametrize("without", ["host", "lung"])
def test_a_tightly_cut_lesion_without_a_place_is_not_used(tight, without):
    hu, target, ignored, inside, is_cut = tight
    if without == "host":
        is_cut[1:] = True
    else:
        hu[1] = BONE
    found, _, usable = resettled(hu, target, ignored, inside, is_cut)
    assert usable.tolist() == [False, True, True]
    np.testing.assert_array_equal(found, hu)


def test_the_share_says_how_many_are_moved(tight):
    hu, _, usable = resettled(*tight, share=0.0)
    assert usable.all()
    np.testing.assert_array_equal(hu, tight[0])


def test_an_image_is_tight_that_ends_at_both_ends_of_an_axis():
    whole, one_end, both = [[0, 9]] * 3, [[2, 9], [0, 9], [0, 7]], [[2, 7], [0, 9], [0, 9]]
    assert is_tight((9, 9, 9), np.array([whole, one_end, both])).tolist() == [False, False, True]


def test_lesions_of_all_devices_find_the_same_places(tight):
    each = [np.concatenate([x, x[:1]]) for x in tight]
    keys = jax.random.split(jax.random.key(0), 4)
    expected = resettle(keys, *each, 1.0)
    spread = jax.pmap(
        lambda *x: resettle(*x, 1.0, "batch"), axis_name="batch", devices=jax.devices()[:2]
    )(*(x.reshape(2, 2, *x.shape[1:]) for x in (keys, *each)))
    for one, other in zip(expected, spread, strict=True):
        np.testing.assert_allclose(one, np.asarray(other).reshape(one.shape), atol=1e-3)
