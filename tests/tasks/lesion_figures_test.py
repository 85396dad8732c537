"""What the figures of a classifier say beside the numbers."""

import pandas as pd

from configs import senet
from dtc_jax.tasks import lesion_figures


def _rows(*diameters_mm):
    """Each lesion in two folds."""
    rows = [("P", f"L{i}", fold, mm) for i, mm in enumerate(diameters_mm) for fold in (0, 1)]
    return pd.DataFrame(rows, columns=["patient_id", "lesion_id", "fold", "diameter_mm"])


def test_lesions_longer_than_the_field_of_view_are_counted():
    (note,) = lesion_figures._cut_off(senet.get_config("few"), _rows(8.0, 20.0, 20.5, 61.0))
    assert "20 mm" in note
    assert "2 of 4 lesions" in note


def test_the_widest_candidate_counts_and_without_longer_ones_nothing_is_said():
    config = senet.get_config("nodules")  # sees 32 and 48 mm
    assert "1 of 2 lesions" in lesion_figures._cut_off(config, _rows(47.0, 49.0))[0]
    assert lesion_figures._cut_off(config, _rows(33.0, 47.0)) == []
    assert lesion_figures._cut_off(config, _rows(50.0).drop(columns="diameter_mm")) == []
