"""The seam between a run and what is learned: a `Definition` says all that a task is.

A task is one file that ends with its `Definition`, and one line in `registry`. Training,
evaluation, prediction and export know nothing else of it. Nothing in a definition writes a file.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.imaging.outlined import Outlined
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.tasks.inputs import Logit
from dtc_jax.tasks.sources import Data
from dtc_jax.training.task import Batch, PyTree, Task

if TYPE_CHECKING:
    from dtc_jax.tasks.trained import TrainedNetwork

Config: TypeAlias = ml_collections.ConfigDict
Monitors = Mapping[str, Literal["max", "min"]]
Columns = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Words:
    """How messages speak of a task.

    Attributes:
      noun: what a run of it trains, with an article: 'a classifier'.
      flag: of launch.py that takes such a run: '--classifier'.
      network: name of the network in tables: 'SE-Net'.
      quick_config: of a first look, FILE:VARIANT.
    """

    noun: str
    flag: str
    network: str
    quick_config: str = ""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures of a run.

    Attributes:
      metrics: JSON values of metrics.json.
      tables: file name -> table.
      summary: what is printed.
      report_of: file name of the table that the study's report is made of; '' for no report.
      curves: metrics whose course over the epochs is drawn.
      slices: of test cases, from the worst to the best.
    """

    metrics: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]
    summary: str
    report_of: str = ""
    curves: tuple[str, ...] = ()
    slices: Sequence[Outlined] = ()


@dataclasses.dataclass(frozen=True)
class Definition:
    """All that a task is.

    Attributes:
      words: how messages speak of it.
      network: class of its network; config.model has the fields of it.
      monitors: metrics that can choose a checkpoint, and whether the larger value is better.
      table: file name of the evaluated examples, with patient_id, split and fold.
      select: (config, lesions of a phantom cohort) -> those that it uses.
      examples_per_lesion: config -> how many rows of its data a lesion gives.
      cpu_flops: floating-point operations a second of a training step on two CPU cores.
      check: config -> None; raises UsageError for what would fail only later.
      load: config -> the data.
      split: (config, the data's table) -> its rows with fold and split.
      weights: (config, training rows [N]) -> weight of each in the loss [N]; raises InputError
        where the rows cannot be learned from.
      targets: (config, training rows [N]) -> further targets of the loss [N, T], NaN where unknown;
        None where there are none.
      make_task: config -> what the trainer knows of it.
      make_network: config -> its network.
      make_preprocess: config -> what the network sees of a stored record in training.
      make_predict_preprocess: config -> what it sees of one in prediction.
      make_logit: config -> the one function (params, batch_stats, image, mask) -> logit, with
        preprocessing and mirror images inside. image: int16 HU of stored records, or of windows of
        a scan on their grid [B, d, h, w]; mask: uint8, the same shape. It is jittable, and B may be
        symbolic.
      columns: outputs of the task's `predict` -> columns of a row each [N].
      evaluate: (config, data, network with a member a fold, rows with `columns`, the run's name)
        -> figures.
      finds_lesions: whether its network finds lesions in whole scans, so that what it finds wrongly
        in those of training can be learned from, see `experiment.hard_negatives`.
      make_features: config -> (params, batch_stats, batch) -> index [B] and what the last layer
        sees, features [B, C]; None where the task has no such thing.
      tempered: (params of a network, temperature) -> params with which its logit is that of before
        divided by the temperature; None where the logit is not the score of a row.
    """

    words: Words
    network: type[nn.Module]
    monitors: Monitors
    table: str
    cpu_flops: float
    check: Callable[[Config], None]
    load: Callable[[Config], Data]
    split: Callable[[Config, pd.DataFrame], pd.DataFrame]
    weights: Callable[[Config, pd.DataFrame], np.ndarray]
    make_task: Callable[[Config], Task]
    make_network: Callable[[Config], nn.Module]
    make_preprocess: Callable[[Config], Preprocess]
    make_predict_preprocess: Callable[[Config], Preprocess]
    make_logit: Callable[[Config], Logit]
    columns: Callable[[Sequence[dict[str, np.ndarray]]], Columns]
    evaluate: "Callable[[Config, Data, TrainedNetwork, pd.DataFrame, str], Evaluation]"
    targets: Callable[[Config, pd.DataFrame], np.ndarray | None] = lambda config, rows: None
    select: Callable[[Config, pd.DataFrame], pd.DataFrame] = lambda config, lesions: lesions
    examples_per_lesion: Callable[[Config], float] = lambda config: 1.0
    finds_lesions: bool = False
    make_features: (
        Callable[[Config], Callable[[PyTree, PyTree, Batch], dict[str, jax.Array]]] | None
    ) = None
    tempered: Callable[[PyTree, float], PyTree] | None = None
