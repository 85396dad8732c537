"""What decides which findings are lesions where no second network looks at them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import second_look
from dtc_jax.inference.segment import Segmentation, Segmenter
from dtc_jax.inference.sliding_window import SlidingWindow

IMAGE = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4))


@pytest.fixture
def found():
    mask = np.zeros((4, 4, 4), np.uint16)
    mask[0, 0, 0], mask[1, 1], mask[3, 3] = 1, 2, 3
    table = pd.DataFrame({"lesion_id": [1, 2, 3], "max_probability": [0.7, 0.95, 0.9]})
    return Segmentation(table, Volume(mask, np.eye(4)), IMAGE)


def _segmenter(threshold):
    instances = Instances(lesion_threshold=threshold)
    return Segmenter(lambda hu: hu, Preprocess(), SlidingWindow((4, 4, 4)), instances)


def test_without_a_threshold_all_findings_are_taken_for_lesions(found):
    segmenter = _segmenter(0.0)
    assert second_look.certainty(segmenter, None, IMAGE, found) is None
    assert second_look.look_again(segmenter, None, IMAGE, found) is found.lesions
    assert second_look.without_false_findings(segmenter, None, IMAGE, found) is found


def test_the_highest_probability_of_a_finding_decides(found):
    segmenter = _segmenter(0.9)
    table = second_look.look_again(segmenter, None, IMAGE, found)
    assert table.is_lesion.tolist() == [False, True, True]
    assert table.lesion_probability.tolist() == table.max_probability.tolist()
    kept = second_look.without_false_findings(segmenter, None, IMAGE, found)
    assert kept.lesions.lesion_id.tolist() == [2, 3]
    np.testing.assert_array_equal(np.unique(kept.mask.array), [0, 2, 3])
    np.testing.assert_array_equal(kept.mask.array == 3, found.mask.array == 3)


def test_where_nothing_was_found_there_is_nothing_to_decide(found):
    empty = dataclasses.replace(found, lesions=found.lesions[:0])
    assert second_look.look_again(_segmenter(0.9), None, IMAGE, empty).is_lesion.tolist() == []


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_beyond_probabilities_is_refused(threshold):
    with pytest.raises(UsageError, match="lesion_threshold is"):
        Instances(lesion_threshold=threshold)
