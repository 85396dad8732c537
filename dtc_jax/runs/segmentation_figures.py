"""Pictures of a segmentation run: its curves, and slices of test patches from worst to best."""

import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pandas as pd

from dtc_jax.imaging.preprocess import crop
from dtc_jax.inference.segment import make_segmenter
from dtc_jax.report import cohort_plots, drawing, outlines
from dtc_jax.runs import artefacts
from dtc_jax.runs.data import Data
from dtc_jax.runs.fold import Network
from dtc_jax.tasks import segmentation

_SHOWN = 6  # patches


def write(
    data: Data, networks: Sequence[Network], scored: pd.DataFrame, folder: pathlib.Path
) -> None:
    """Writes curve_loss, curve_dice and slices into `folder`/figures, each as PNG and SVG.

    Args:
      data: the patches.
      networks: of the splits, by fold.
      scored: rows of `fold.predict`, all folds.
      folder: of the run.
    """
    curves = artefacts.curves(folder)
    tested = scored[(scored.split == "test") & scored.dice.notna()].sort_values("dice")
    with drawing.style():
        for metric in () if curves is None else ("loss", "dice"):
            path = folder / "figures" / f"curve_{metric}"
            drawing.save(cohort_plots.training(curves, metric), path)
        if not tested.empty:
            ranks = np.unique(np.linspace(0, len(tested) - 1, _SHOWN).round().astype(int))
            slices = [
                _slice(data, networks[row.fold], row) for row in tested.iloc[ranks].itertuples()
            ]
            drawing.save(outlines.outlines(slices), folder / "figures" / "slices")


def _slice(data: Data, network: Network, row) -> outlines.Outlined:
    """The axial slice of a patch that shows most of its lesion."""
    spec = segmentation.make_predict_preprocess(network.config)
    record = data.records[row.position]
    hu = crop(record["image"], spec, np)  # [D, H, W]
    true = crop(record["mask"], spec, np, edge=False) >= 0.5
    probability = make_segmenter(network.config, network.result).predict(jnp.asarray(hu)[None])[0]
    found = np.asarray(probability) > network.config.predict.threshold
    z = outlines.largest_slice(true)
    side = (spec.spacing_mm, spec.spacing_mm)
    return outlines.Outlined(hu[z], found[z], true[z], side, f"Dice {row.dice:.2f}")
