"""A trained network as it is served: from int16 HU and uint8 mask to the probability.

Each format computes what `Served.answer` computes in JAX.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.errors import UsageError
from dtc_jax.imaging.preprocess import preprocess, uncrop
from dtc_jax.models.senet import SENet
from dtc_jax.networks import saliency
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.tasks.trained import TrainedNetwork, Variables

BATCH = "batch"  # name of the symbolic dimension


@dataclasses.dataclass(frozen=True)
class Array:
    """An input or output of a served network.

    Attributes:
      name: of it.
      shape: without the batch, which comes first.
      dtype: name of it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Served:
    """A trained network and what it is given.

    Attributes:
      network: with a member a fold.
      shape: voxels of its input: of a stored record at 1 mm, or of a segmenter's window.
      threshold: a case, or of a segmenter a voxel, is positive from this probability on.
    """

    network: TrainedNetwork
    shape: tuple[int, int, int]
    threshold: float

    @property
    def segments(self) -> bool:
        """Whether the probability is that of each voxel."""
        return self.network.task.finds_lesions

    @property
    def heat(self) -> bool:
        """Whether there is a heat map."""
        return self.network.task.network is SENet

    @functools.cached_property
    def uses_mask(self) -> bool:
        """Whether a network sees the mask."""
        task = self.network.task
        return any(
            task.make_predict_preprocess(one.config).mask != "none" for one in self.network.networks
        )

    @property
    def inputs(self) -> tuple[Array, ...]:
        """image, int16 HU; and mask, uint8, where it is used."""
        image, mask = Array("image", self.shape, "int16"), Array("mask", self.shape, "uint8")
        return (image, mask) if self.uses_mask else (image,)

    @property
    def outputs(self) -> tuple[Array, ...]:
        """probability; and heat, where there is one, in units of the logit."""
        probability = Array("probability", self.shape if self.segments else (), "float32")
        return (probability, Array("heat", self.shape, "float32")) if self.heat else (probability,)

    def answer(self, variables: Variables, *arrays: jax.Array) -> dict[str, jax.Array]:
        """`outputs` by name, of `network.variables` and `inputs` [B, ...]; B may be symbolic.

        The heat map is Grad-CAM (see `networks.saliency`), the mean over the networks, on the grid
        of the record: 0 beyond what a network sees.
        """
        image = arrays[0]
        mask = arrays[1] if self.uses_mask else jnp.zeros(image.shape, jnp.uint8)
        logit = self.network.logit(variables, image, mask)  # [B], or [B, D, H, W]
        answer = {"probability": jax.nn.sigmoid(logit.astype(jnp.float32))}
        if self.heat:
            answer["heat"] = self._heat(variables, image, mask)
        return answer

    def _heat(self, variables: Variables, image: jax.Array, mask: jax.Array) -> jax.Array:
        task, maps = self.network.task, []
        for one, (params, batch_stats) in zip(self.network.networks, variables, strict=True):
            spec, senet = (
                task.make_predict_preprocess(one.config),
                task.make_network(one.config),
            )
            assert isinstance(senet, SENet)
            x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, C]
            heat = saliency.heat_maps(senet, params, batch_stats, x)
            maps.append(uncrop(heat, self.shape, spec, jnp))  # [B, d, h, w]
        return sum(maps[1:], maps[0]) / len(maps)

    def computed_in(self, dtype: str) -> "Served":
        """The same with `config.model.dtype` of each member as given; weights stay in float32."""
        members = []
        for member in self.network.members:
            config = member.config.copy_and_resolve_references().unlock()
            config.model.dtype = config.model.dtype if dtype == "float32" else dtype
            members.append(dataclasses.replace(member, config=config.lock()))
        return dataclasses.replace(
            self, network=dataclasses.replace(self.network, members=tuple(members))
        )

    def on_cpu(self, *arrays: np.ndarray) -> dict[str, np.ndarray]:
        """`answer` in NumPy, computed on the CPU, where products are not rounded to fewer bits."""
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            found: dict[str, Any] = self._jitted(*map(jnp.asarray, arrays))
            return {name: np.asarray(value) for name, value in found.items()}

    @functools.cached_property
    def _jitted(self) -> Any:
        return functools.partial(jax.jit(self.answer), jax.device_put(self.network.variables))


def make(network: TrainedNetwork) -> Served:
    """`network` with what it is given and its threshold.

    Raises:
      UsageError: the members of a segmenter see different windows; or there is no threshold.
    """
    if network.task.finds_lesions:
        windows = make_segmenter(network).windows
        return Served(network, windows.window, float(network.config.predict.threshold))
    if network.threshold is None:
        raise UsageError(f"config.task={network.config.task!r}: the run has no threshold.")
    depth, height, width = (int(side) for side in network.config.data.size_mm)
    return Served(network, (depth, height, width), network.threshold)
