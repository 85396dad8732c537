"""Mixup: what is mixed with what, and that devices do not matter."""

import jax
import numpy as np
import pytest

from dtc_jax.training import mixup

KEYS = jax.random.split(jax.random.key(0), 8)


def test_each_row_is_mixed_with_the_next_and_keeps_at_least_half_of_itself():
    x = np.eye(8, dtype=np.float32)
    rows = np.arange(8)
    got, ((own, share), (other, rest)) = mixup.mixed(KEYS, x, rows, 0.4, None)
    np.testing.assert_array_equal(own, rows)
    np.testing.assert_array_equal(other, np.roll(rows, -1))
    np.testing.assert_allclose(share + rest, 1.0)
    assert (share >= 0.5).all()
    assert len(np.unique(share)) == 8
    wanted = np.asarray(share)[:, None] * x + np.asarray(rest)[:, None] * np.roll(x, -1, axis=0)
    np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_rows_spread_over_devices_have_the_same_partners(devices):
    x = np.arange(24.0).reshape(8, 3)
    shape = (devices, 8 // devices, 3)
    got = jax.pmap(lambda x: mixup.following(x, "i"), "i", devices=jax.devices()[:devices])(
        x.reshape(shape)
    )
    np.testing.assert_array_equal(np.reshape(got, x.shape), mixup.following(x, None))
    np.testing.assert_array_equal(mixup.following(x, None), np.roll(x, -1, axis=0))


def test_shares_follow_the_beta_distribution():
    keys = jax.random.split(jax.random.key(1), 4000)
    x = np.zeros((4000, 1), np.float32)
    for alpha in (0.2, 1.0):
        _, ((_, share), _) = mixup.mixed(keys, x, x, alpha, None)
        drawn = np.random.default_rng(0).beta(alpha, alpha, 40000)
        assert share.mean() == pytest.approx(np.maximum(drawn, 1 - drawn).mean(), abs=0.01)
