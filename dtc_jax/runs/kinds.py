"""What differs between runs of different tasks: whence the data, how they are split and judged."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import ml_collections
import pandas as pd

from dtc_jax.runs import data, judgement, segmentation
from dtc_jax.runs.data import Data
from dtc_jax.runs.fold import Network

Judge = Callable[
    [ml_collections.ConfigDict, Data, Sequence[Network], pd.DataFrame, pathlib.Path], None
]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
      load: config -> the data.
      assign: (config, the data's table) -> its rows with fold and split.
      judge: (config, data, networks, predicted rows, folder) writes and prints the figures.
    """

    load: Callable[[ml_collections.ConfigDict], Data]
    assign: Callable[[ml_collections.ConfigDict, pd.DataFrame], pd.DataFrame]
    judge: Judge


def of(config: ml_collections.ConfigDict) -> Kind:
    """The kind of run of `config.task`, which `tasks.registry` knows."""
    if config.task == "segmentation":
        return Kind(segmentation.load, segmentation.assign, segmentation.judge)
    return Kind(data.load, data.assign, judgement.write)
