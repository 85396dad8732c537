"""The measures in a network follow the hand-made features, and are finite for every mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from dtc_jax.imaging import features, preprocess
from dtc_jax.models import measures, senet

SHAPE = (20, 24, 28)
SPEC = preprocess.Preprocess(SHAPE, 1.0, (-1000.0, 400.0), "channel")


def _lesion(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.5)
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij")
    mask = z**2 + y**2 + x**2 < (5 + 30 * smooth + seed) ** 2
    labels, _ = ndimage.label(mask)
    mask = labels == labels[tuple(n // 2 for n in SHAPE)]
    hu = np.where(mask, -200, -800) + rng.normal(0, 90, SHAPE)
    return np.round(hu).astype(np.int16), mask


def _measured(image, mask, xp=np) -> dict[str, np.ndarray]:
    scaled = measures.measures(xp.asarray(image, np.float32), xp.asarray(mask, np.float32), xp)
    assert scaled.shape == (len(image), 1, 1, 1, len(measures.NAMES))
    return {
        name: np.asarray(scaled)[:, 0, 0, 0, i] * scale + centre
        for i, (name, (centre, scale)) in enumerate(measures._SCALES.items())
    }


@pytest.mark.parametrize("xp", [np, jnp])
def test_they_follow_the_hand_made_features(xp):
    lesions = [_lesion(seed) for seed in range(3)]
    x = preprocess.preprocess(*map(np.stack, zip(*lesions, strict=True)), SPEC, np)
    found = _measured(x[..., 0], x[..., 1], xp)
    low, high = SPEC.window
    for i, (hu, mask) in enumerate(lesions):
        expected = dict(zip(features.FEATURES, features.features(hu, mask), strict=True))
        at = {name: values[i] for name, values in found.items()}
        assert np.exp(at["log_volume"]) - 1 == pytest.approx(mask.sum(), rel=1e-4)
        for axis in "zyx":
            assert np.exp(at[f"log_extent_{axis}"]) - 1 == pytest.approx(
                expected[f"extent_{axis}_mm"], rel=1e-4
            )
        spread = np.var(np.argwhere(mask), axis=0)
        spreads = [np.exp(at[f"log_spread_{axis}"]) - 1 / 12 for axis in "zyx"]
        np.testing.assert_allclose(spreads, spread, rtol=1e-4)
        in_hu = ("mean", "largest", "rim_mean", "surface_mean")
        hu_of = {name: low + at[name] * (high - low) for name in in_hu}
        assert hu_of["mean"] == pytest.approx(expected["hu_mean"], abs=0.1)
        assert hu_of["largest"] == pytest.approx(min(expected["hu_max"], high), abs=0.1)
        assert at["deviation"] * (high - low) == pytest.approx(expected["hu_sd"], rel=0.02)
        seen = (hu[mask].clip(low, high) - low) / (high - low)
        assert at["skewness"] == pytest.approx(stats.skew(seen), rel=0.05, abs=0.02)
        for k in range(8):
            share = np.maximum(1 - abs(7 * seen - k), 0).mean()
            assert at[f"share_{k}"] == pytest.approx(share, abs=1e-4)
        rim = ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & ~mask
        assert hu_of["rim_mean"] == pytest.approx(hu[rim].clip(low, high).mean(), abs=0.1)
        surface = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 3)), border_value=1)
        assert np.exp(at["log_surface"]) - 1 == pytest.approx(surface.sum(), rel=1e-3)
        assert hu_of["surface_mean"] == pytest.approx(hu[surface].clip(low, high).mean(), abs=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_they_are_finite_for_an_empty_and_a_full_mask_and_for_even_density(value):
    found = _measured(np.full((1, 6, 6, 6), 0.3), np.full((1, 6, 6, 6), value))
    for name, values in found.items():
        assert np.isfinite(values).all(), name
        assert np.abs(values).max() < 10, name


@pytest.mark.extras
def test_they_add_to_the_logit_and_need_the_mask():
    x = jnp.asarray(np.random.default_rng(0).random((2, 8, 8, 8, 2)), jnp.float32)
    network = senet.SENet(width=2, stages=1, measures=4)
    variables = network.init(jax.random.key(0), x, train=False)
    with_them = network.apply(variables, x, train=False)
    variables["params"]["measures"]["out"]["kernel"] *= 0.0
    without = senet.SENet(width=2, stages=1).apply(variables, x, train=False)
    np.testing.assert_array_equal(network.apply(variables, x, train=False), without)
    assert np.abs(with_them - without).min() > 1e-4
    with pytest.raises(ValueError, match=r"second channel: preprocess\.mask=channel"):
        network.init(jax.random.key(0), x[..., :1], train=False)
