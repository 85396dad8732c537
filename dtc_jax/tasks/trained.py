"""A trained network: what evaluation, prediction, the leakage audit and export take as it is."""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dtc_jax.statistics.temperature import Temperature
from dtc_jax.tasks import fields, inputs
from dtc_jax.tasks.definition import Definition
from dtc_jax.training.task import PyTree

Variables = tuple[tuple[PyTree, PyTree], ...]  # (params, batch_stats) of each network


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """The network of one split, or several that decide together.

    Attributes:
      config: it was trained with: the run's, with the fields of the chosen candidate.
      params: on the host; the moving average where it was on. Of several networks, a tuple.
      batch_stats: on the host. Of several networks, a tuple.
      metrics: of its checkpoint on validation.
      candidates: monitored validation metric of every candidate; empty where there were none.
      temperature: that the weights have been divided by, see `experiment.calibrated`; None where
        they are as they were trained.
    """

    config: ml_collections.ConfigDict
    params: PyTree
    batch_stats: PyTree
    metrics: dict[str, float]
    candidates: dict[str, float] = dataclasses.field(default_factory=dict)
    temperature: Temperature | None = None

    @property
    def networks(self) -> "tuple[Member, ...]":
        """The single networks that decide together, see `inputs.parts`; most often itself alone."""
        configs = tuple(inputs.parts(self.config).values())
        if len(configs) == 1:
            return (self,)
        variables = zip(configs, self.params, self.batch_stats, strict=True)
        return tuple(
            Member(config, p, stats, self.metrics, temperature=self.temperature)
            for config, p, stats in variables
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The networks of a run, which decide together by the mean of their logits.

    Attributes:
      task: what they were trained for.
      members: one a fold; a run without folds has one.
      threshold: from which probability on a case is positive, as the run chose it on validation;
        None where the task has no threshold of its own.
      unfinished: the trainings that were stopped before their end, and how far they are, such as
        'folds/02: step 3 of 36'.
    """

    task: Definition
    members: tuple[Member, ...]
    threshold: float | None = None
    unfinished: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.members:
            raise ValueError("a trained network needs at least one member.")

    @property
    def config(self) -> ml_collections.ConfigDict:
        """Of the first member; others may differ by their candidate, never in task and data."""
        return self.members[0].config

    @property
    def networks(self) -> tuple[Member, ...]:
        """The single networks of all members."""
        return tuple(one for member in self.members for one in member.networks)

    @property
    def variables(self) -> Variables:
        """Parameters and running statistics of each single network."""
        return tuple((one.params, one.batch_stats) for one in self.networks)

    @property
    def candidates(self) -> list[dict[str, float]]:
        """Validation metric of every candidate, by fold; empty where there were none."""
        return [member.candidates for member in self.members if member.candidates]

    def member(self, number: int) -> "TrainedNetwork":
        """The network of one fold alone."""
        return dataclasses.replace(self, members=(self.members[number],))

    def logit(self, variables: Variables, image: jax.Array, mask: jax.Array) -> jax.Array:
        """From HU and mask to the logit: preprocessing, mirror images and members are inside.

        A pure function of arrays, to be jitted or exported; B may be symbolic.

        Args:
          variables: `self.variables`, or the same on a device.
          image: int16 HU [B, d, h, w]: stored records of the classifier at 1 mm; windows of the
            scan on the network's grid for the segmenter.
          mask: uint8 [B, d, h, w], where the task uses it.

        Returns:
          [B], or [B, D, H, W] for the segmenter, of the shape of `config.predict.crop_mm`, which is
          cut out of the middle of what is larger; the mean over the networks.
        """
        makers = [self.task.make_logit(one.config) for one in self.networks]
        logits = [
            make(params, batch_stats, image, mask)
            for make, (params, batch_stats) in zip(makers, variables, strict=True)
        ]
        return sum(logits[1:], logits[0]) / len(logits)

    @functools.cached_property
    def on_device(self) -> "functools.partial[jax.Array]":
        """`logit`, jitted, with the variables on the default device: (image, mask) -> logit."""
        return functools.partial(jax.jit(self.logit), jax.device_put(self.variables))

    def probability(self, image: Any, mask: Any) -> jax.Array:
        """Probability of the positive class; arguments as `logit` has them."""
        return jax.nn.sigmoid(self.on_device(image, mask).astype(jnp.float32))

    def fingerprints_by_fold(self) -> list[dict[str, str]]:
        """`fingerprints` of each member alone."""
        return [self.member(number).fingerprints for number in range(len(self.members))]

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of what the networks were made with ('config') and of their numbers ('weights').

        What may change when a run is resumed, such as where its data are, does not count; what is
        done with whole scans does.
        """
        weights = hashlib.sha256()
        for variables in self.variables:
            for place, leaf in jax.tree_util.tree_leaves_with_path(variables):
                weights.update(jax.tree_util.keystr(place).encode())
                weights.update(np.ascontiguousarray(leaf).tobytes())
        text = json.dumps(
            [fields.essence(member.config) for member in self.members], sort_keys=True
        )
        return {
            "config": hashlib.sha256(text.encode()).hexdigest(),
            "weights": weights.hexdigest(),
        }
