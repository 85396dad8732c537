"""Example lesions for a run's report, with heat maps of the networks that classified them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.networks import classifier
from dtc_jax.report.example import Example
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork


def make(
    networks: Mapping[int, TrainedNetwork], data: Data, table: pd.DataFrame
) -> tuple[Example, ...]:
    """The most certain right and the most certain wrong test lesion of each class.

    Args:
      networks: those that decided together, by the fold of the rows that they classified.
      data: of the run.
      table: of predictions.csv.

    Returns:
      Four at most: fewer where no decision on a class was right, or none wrong.
    """
    positions = data.table.set_index("lesion_id").position
    chosen = list(_chosen(table))
    heat_maps = {
        fold: classifier.make_heat_maps(networks[fold])
        for fold in {int(row.fold) for row in chosen}
    }
    examples = []
    for row in chosen:
        network = networks[int(row.fold)]
        specs = [network.task.make_preprocess(one.config) for one in network.networks]
        record = data.records[int(positions[row.lesion_id])]
        image, mask = record["image"], record["mask"]
        (heat,) = heat_maps[int(row.fold)](image[None], mask[None])
        seen = _field_of_view(image.shape, specs)
        examples.append(
            Example(
                lesion_id=str(row.lesion_id),
                cohort=str(row.cohort),
                label=int(row.label),
                score=float(row.score),
                threshold=float(row.threshold),
                image=image[seen],
                mask=mask[seen] == 1,
                heat=heat[seen],
                window=(float(specs[0].window[0]), float(specs[0].window[1])),
            )
        )
    return tuple(examples)


def _chosen(table: pd.DataFrame) -> Iterator[pd.Series]:
    """The rows to show: of each class the surest of those that were right, and of those wrong."""
    tested = table[(table.split == "test") & table.score.notna() & table.label.notna()]
    for label in (1, 0):
        of_class = tested[tested.label == label]
        for is_right in (True, False):
            rows = of_class[(of_class.decision == label) == is_right]
            if len(rows):
                towards_refractory = (label == 1) == is_right
                index = rows.score.idxmax() if towards_refractory else rows.score.idxmin()
                yield rows.loc[index]


def _field_of_view(shape: tuple[int, ...], specs: Sequence[Preprocess]) -> tuple[slice, ...]:
    """What the networks see of a record at 1 mm, whose margin is there for augmentation."""
    widest = np.max([spec.crop_mm for spec in specs], axis=0)
    sides = [min(n, int(np.ceil(side))) for n, side in zip(shape, widest, strict=True)]
    return tuple(
        slice((n - side) // 2, (n - side) // 2 + side) for n, side in zip(shape, sides, strict=True)
    )
