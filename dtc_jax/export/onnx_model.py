"""A trained network as one ONNX model: int16 HU and uint8 mask in, probability out.

It is written from the weights rather than traced: convolutions are in the form that ONNX Runtime
computes fastest on a CPU, and the graph can be read.
"""

import jax.numpy as jnp
import numpy as np
import onnx

from dtc_jax.errors import UsageError
from dtc_jax.export import layers
from dtc_jax.export.graph import ArrayNamespace, Graph, Tensor
from dtc_jax.export.networks import WRITERS
from dtc_jax.export.served import Served
from dtc_jax.imaging.preprocess import Preprocess, preprocess, uncrop
from dtc_jax.networks import saliency
from dtc_jax.tasks import inputs
from dtc_jax.tasks.trained import Member, TrainedNetwork


def check(network: TrainedNetwork) -> None:
    """Refuses what has no equal in ONNX.

    Raises:
      UsageError: names the field of the configuration.
    """
    for one in network.networks:
        config = one.config
        if network.task.network not in WRITERS:
            known = " and ".join(kind.__name__ for kind in WRITERS)
            raise UsageError(
                f"config.task={config.task!r}: its network {network.task.network.__name__} cannot "
                f"be written as ONNX, only {known} can; omit onnx from --format."
            )
        if config.model.dtype != "float32":
            raise UsageError(
                f"config.model.dtype={config.model.dtype!r}: ONNX is written in float32, which "
                "gives other numbers than this run's; omit onnx from --format."
            )


def make(served: Served, notes: dict[str, str], dtype: str = "float32") -> onnx.ModelProto:
    """The model; its inputs and outputs are those of `served`, with the batch symbolic.

    Args:
      served: what is to be computed.
      notes: metadata.
      dtype: 'float32', or 'float16' for the networks, but not for what is before and behind them.

    Raises:
      UsageError: see `check`.
    """
    check(served.network)
    graph = Graph(exact=dtype != "float32")
    arrays = {one.name: graph.input(one.name, one.shape, one.dtype) for one in served.inputs}
    image = arrays["image"]
    mask = arrays.get("mask", image)  # of a network that does not see it, nothing is read
    answers = [_network(served, one, image, mask) for one in served.network.networks]
    outputs = {"probability": layers.activate(_mean([logit for logit, _ in answers]), "sigmoid")}
    maps = [heat for _, heat in answers if heat is not None]
    if maps:
        outputs["heat"] = _mean(maps)
    model = graph.model(outputs, notes)
    return _halved(model) if dtype == "float16" else model


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in float16 from the first convolution to the last.

    HU before and probabilities and heat maps behind need more bits.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    nodes = list(model.graph.node)  # in the order of computation
    convolutions = {node.name for node in nodes if node.op_type in ("Conv", "ConvTranspose")}
    behind, before = set[str](), set[str]()  # values behind a convolution; that feed one
    for node in nodes:
        if node.name in convolutions or behind & {*node.input}:
            behind.update(node.output)
    for node in reversed(nodes):
        if node.name in convolutions or before & {*node.output}:
            before.update(node.input)
    outside = [
        node.name
        for node in nodes
        if node.name not in convolutions
        and not (behind & {*node.input} and before & {*node.output})
    ]
    return convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)


def _network(
    served: Served, one: Member, image: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The logit of one network, and its heat map on the grid of the record where it has one."""
    task, config = served.network.task, one.config
    spec, mirrored = task.make_predict_preprocess(config), config.predict.mirror
    x = preprocess(image, mask, spec, ArrayNamespace)  # [B, D, H, W, C]
    if mirrored:
        views = [layers.flip(x, axes) for axes in inputs.mirrors(mirrored)]
        x = x.graph.node("Concat", views, x.shape, axis=0)  # [V * B, D, H, W, C]
    logit, share = _mean_of_views(served, one, layers.channels_inside(x))
    if not served.heat or share is None:
        return logit, None
    return logit, _on_record(
        layers.activate(share, "relu"), served.shape, spec, task.make_network(config).cell
    )


def _mean_of_views(served: Served, one: Member, seen: Tensor) -> tuple[Tensor, Tensor | None]:
    """The mean over the views, and what each place of the first view adds to it."""
    network = served.network.task.make_network(one.config)
    write = WRITERS[served.network.task.network]
    logits, share = write(seen, network, one.params, one.batch_stats)  # [V * B, ...]
    flips = inputs.mirrors(one.config.predict.mirror)
    if len(flips) == 1:
        return logits, share
    views = [
        layers.flip(_view(logits, number, len(flips)), axes if logits.shape else ())
        for number, axes in enumerate(flips)
    ]
    return _mean(views), None if share is None else _view(share, 0, len(flips))


def _view(x: Tensor, number: int, count: int) -> Tensor:
    """One of the views that lie below each other. # [V * B, ...] -> [B, ...]"""
    apart = x.reshaped(x.shape, (count, -1))  # [V, B, ...]
    at = x.graph.constant(np.int64(number), "view")
    return x.graph.node("Gather", [apart, at], x.shape, axis=0)


def _on_record(
    x: Tensor, shape: tuple[int, ...], spec: Preprocess, cell: tuple[int, ...]
) -> Tensor:
    """A heat map on the grid of the record, which is finer. # [B, d, h, w] -> [B, D, H, W]

    It is interpolated on the network's grid, and from there on the record's. Both are linear and
    work axis by axis, so one matrix an axis does both. ONNX Runtime computes the map even where
    nobody fetches it (microsoft/onnxruntime#16483), so it must cost next to nothing.
    """
    constant, (depth, height, width) = x.graph.constant, shape
    along_z, along_y, along_x = (
        _interpolation(*sizes, spec) for sizes in zip(x.shape, cell, spec.shape, shape, strict=True)
    )
    _, h, w = x.shape
    columns = x.reshaped((x.shape[0], h * w))
    x = x.graph.node("MatMul", [constant(along_z, "to_record"), columns], (depth, h * w))
    x = x.reshaped((depth, h, w))
    x = x.graph.node("MatMul", [constant(along_y, "to_record"), x], (depth, height, w))
    return x.graph.node("MatMul", [x, constant(along_x.T, "to_record")], (depth, height, width))


def _interpolation(old: int, cell: int, new: int, out: int, spec: Preprocess) -> np.ndarray:
    """`saliency.stretched` from `old` places to `new` voxels, `uncrop` to `out`. # [out, old]"""
    each = jnp.eye(old, dtype=jnp.float32)[..., None, None]
    finer = np.asarray(saliency.stretched(each, (new, 1, 1), (cell, 1, 1)))
    return uncrop(finer, (out, 1, 1), spec, np)[..., 0, 0].T


def _mean(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total if len(values) == 1 else total / float(len(values))
