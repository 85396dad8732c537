"""A trained network as StableHLO: one artefact for CPU, CUDA and TPU, read back by JAX alone."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax import export

from dtc_jax.export.served import BATCH, Served

PLATFORMS = ("cpu", "cuda", "tpu")


def make(served: Served) -> bytes:
    """The serialized artefact, weights included; `jax.export.deserialize` reads it.

    Its batch is symbolic. Convolutions are 3-D for CUDA and TPU, and in the form that is fastest on
    a CPU for CPUs, unless `config.model.conv` names one form for all.

    Args:
      served: its inputs and outputs are those of the artefact.
    """
    (batch,) = export.symbolic_shape(BATCH)
    shapes = [
        jax.ShapeDtypeStruct((batch, *one.shape), np.dtype(one.dtype)) for one in served.inputs
    ]
    variables = served.network.variables

    def answer(*arrays: jax.Array) -> dict[str, jax.Array]:
        return served.answer(variables, *arrays)

    with without_folders():
        return bytes(export.export(jax.jit(answer), platforms=PLATFORMS)(*shapes).serialize())


@contextlib.contextmanager
def without_folders() -> Iterator[None]:
    """Keeps this machine's folders out of what an artefact says of its operations' source."""
    name = "jax_hlo_source_file_canonicalization_regex"
    former = getattr(jax.config, name)
    jax.config.update(name, r"^.*[/\\]")
    try:
        yield
    finally:
        jax.config.update(name, former)
