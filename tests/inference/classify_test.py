"""From a scan with numbered lesions to probabilities: order, batches, members, heat maps."""

import jax
import numpy as np
import pytest
from scipy import special

from configs import senet
from dtc_jax.crops import record
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import classify
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.tasks import classification
from dtc_jax.tasks.trained import Member, TrainedNetwork

SIDES = (16, 20, 24)


def _config(crop_mm=(8, 8, 8), spacing_mm=1.0):
    config = senet.get_config("demo").unlock()
    config.data.size_mm = (12, 12, 12)
    config.preprocess.update(crop_mm=crop_mm, spacing_mm=spacing_mm)
    config.model.update(width=4, stages=1)
    config.predict.update(batch_size=2, mirror=False)
    return config


def _network(config, seed):
    """Untrained, with statistics and a head that leave nothing at 0."""
    task = classification.make_task(config)
    params, batch_stats = jax.device_get(jax.jit(task.init)(jax.random.key(seed)))
    params["head"]["kernel"] = params["head"]["kernel"] + 0.3
    return Member(config, params, batch_stats, {})


@pytest.fixture(scope="module")
def networks():
    """Two folds whose candidates have other fields of view."""
    members = (_network(_config(), 0), _network(_config((12, 12, 12), 1.5), 1))
    return TrainedNetwork(classification.DEFINITION, members, threshold=0.5)


@pytest.fixture(scope="module")
def scan():
    """A scan of 1 × 0.8 × 0.7 mm with the lesions 1, 2 and 5, which do not touch."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 0.7], [0, 0.8, 0], [1.0, 0, 0]])
    numbers = np.zeros(SIDES, np.uint8)
    for number, corner in ((1, (2, 3, 3)), (2, (8, 12, 6)), (5, (3, 5, 16))):
        numbers[tuple(slice(c, c + 4) for c in corner)] = number
    hu = np.random.default_rng(0).normal(-800, 60, SIDES) + 400.0 * numbers
    return Volume(hu.astype(np.int16), affine), Volume(numbers, affine)


@pytest.fixture(scope="module")
def classified(networks, scan):
    classifier = make_classifier(networks)
    return list(classify.classify(classifier, *scan, heat=True))


def test_lesions_come_in_the_order_of_their_numbers(classified):
    assert [one.lesion_id for one in classified] == [1, 2, 5]  # the second batch is filled up


def test_the_probability_is_that_of_the_mean_logit_of_the_crops(networks, scan, classified):
    for one, (number, box) in zip(classified, lesions.numbered(scan[1].array), strict=True):
        image, mask = classify.cut(*scan, number, box, record.CropParams((12, 12, 12)))
        logits = []
        for member in networks.members:
            logit = jax.jit(classification.make_logit(member.config))
            crops = (image.array[None], mask.array[None])
            logits.append(float(logit(member.params, member.batch_stats, *crops)[0]))
        assert one.probability == pytest.approx(special.expit(np.mean(logits)), abs=1e-5)
    assert len({round(one.probability, 4) for one in classified}) == 3


def test_a_crop_is_about_the_middle_of_its_lesion_and_shows_no_other(scan):
    (number, box) = lesions.numbered(scan[1].array)[2]
    image, mask = classify.cut(*scan, number, box, record.CropParams((12, 12, 12)))
    assert image.shape == mask.shape == (12, 12, 12)
    np.testing.assert_allclose(image.spacing_mm, 1.0)
    middle = scan[0].world([(side.start + side.stop - 1) / 2 for side in box])
    np.testing.assert_allclose(image.world((5.5, 5.5, 5.5)), middle, atol=1e-6)
    assert set(np.unique(mask.array)) == {0, 1}
    occupied = np.argwhere(mask.array).mean(axis=0)
    np.testing.assert_allclose(occupied, 5.5, atol=0.5)


def test_heat_maps_lie_on_the_grid_of_the_crop(classified, scan):
    for one, (number, box) in zip(classified, lesions.numbered(scan[1].array), strict=True):
        crop, _ = classify.cut(*scan, number, box, record.CropParams((12, 12, 12)))
        assert one.heat.shape == crop.shape
        np.testing.assert_allclose(one.heat.affine, crop.affine)
        assert one.heat.array.dtype == np.float32
        assert one.heat.array.min() >= 0
    assert max(one.heat.array.max() for one in classified) > 0


def test_without_being_asked_there_is_no_heat_map(networks, scan, classified):
    classifier = make_classifier(networks)
    plain = list(classify.classify(classifier, *scan))
    assert [one.heat for one in plain] == [None, None, None]
    assert [one.probability for one in plain] == [one.probability for one in classified]


def test_a_scan_without_lesions_gives_nothing(networks, scan):
    classifier = make_classifier(networks)
    empty = Volume(np.zeros(SIDES, np.uint8), scan[1].affine)
    assert list(classify.classify(classifier, scan[0], empty)) == []
