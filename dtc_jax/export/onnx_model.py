"""A trained network as one ONNX model: int16 HU and uint8 mask in, probability out.

It is written from the weights rather than traced: convolutions stay 3-D and the graph has some
sixty nodes a network, which can be read.
"""

import numpy as np
import onnx

from dtc_jax.errors import UsageError
from dtc_jax.export import layers
from dtc_jax.export.graph import ArrayNamespace, Graph, Tensor
from dtc_jax.export.networks import WRITERS
from dtc_jax.export.served import Served
from dtc_jax.imaging.preprocess import preprocess, uncrop
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
    graph = Graph()
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
    x = layers.channels_first(preprocess(image, mask, spec, ArrayNamespace))  # [B, C, D, H, W]
    seen = x
    if mirrored:
        views = [layers.flip(x, [a + 1 for a in axes]) for axes in inputs.mirrors(mirrored)]
        seen = x.graph.node("Concat", views, x.shape, axis=0)  # [V * B, C, D, H, W]
    logit, heat = _mean_of_views(served, one, seen)
    if served.heat and heat is not None:
        heat = _resized(layers.activate(heat, "relu"), x.shape[1:])  # [B, D, H, W]
        heat = uncrop(heat, served.shape, spec, ArrayNamespace)  # [B, d, h, w]
    return logit, heat if served.heat else None


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
    apart = layers.reshape(x, x.shape, (count, -1))  # [V, B, ...]
    at = x.graph.constant(np.int64(number), "view")
    return x.graph.node("Gather", [apart, at], x.shape, axis=0)


def _resized(x: Tensor, sides: tuple[int, ...]) -> Tensor:
    """`jax.image.resize` by linear interpolation to a finer grid. # [B, D, H, W]"""
    apart = layers.reshape(x, (1, *x.shape))  # [B, 1, d, h, w]
    scales = [1.0, 1.0, *(new / old for new, old in zip(sides, x.shape, strict=True))]
    names = ["", apart.graph.constant(np.array(scales, np.float32), "scales")]
    finer = apart.graph.node("Resize", [apart, *names], (1, *sides), mode="linear")
    return layers.reshape(finer, sides)


def _mean(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total if len(values) == 1 else total / float(len(values))
