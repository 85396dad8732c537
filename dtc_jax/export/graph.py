"""Writes an ONNX graph node by node, and lets NumPy code write into one.

A `Tensor` stands for a value of the graph and has what `imaging.preprocess` uses of an array;
`ArrayNamespace` is the `xp` that goes with it. So the graph's preprocessing is written by the very
function that training calls.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dtc_jax import versions
from dtc_jax.export.served import BATCH

# The oldest that has all that is used, for the sake of older runtimes.
_OPSET, _IR_VERSION = 18, 8


class Graph:
    """Nodes and constants of a model in the making.

    Attributes:
      exact: whether convolutions keep to the sums of their definition, see `planes.convolve`.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._counts: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int], dtype: Any) -> "Tensor":
        """An input of any batch. # [B, *shape]"""
        tensor = Tensor(self, name, tuple(shape), np.dtype(dtype))
        self._inputs.append(_value(tensor))
        return tensor

    def node(
        self,
        operator: str,
        inputs: Sequence["Tensor | str"],
        shape: Sequence[int],
        dtype: Any = np.float32,
        **attributes: Any,
    ) -> "Tensor":
        """Adds a node with one output.

        Args:
          operator: of ONNX.
          inputs: values, or names of constants.
          shape: of the output, without its batch.
          dtype: of the output.
          attributes: of the operator.
        """
        name = self._free(operator)
        names = [value if isinstance(value, str) else value.name for value in inputs]
        self._nodes.append(helper.make_node(operator, names, [name], name, **attributes))
        return Tensor(self, name, tuple(shape), np.dtype(dtype))

    def constant(self, array: Any, name: str = "constant") -> str:
        """The name of a constant that has the values of `array`."""
        name = self._free(name)
        self._constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def model(self, outputs: dict[str, "Tensor"], notes: dict[str, str]) -> onnx.ModelProto:
        """The model, once it was checked by ONNX, shapes included.

        Args:
          outputs: by name.
          notes: metadata.
        """
        named = [Tensor(self, name, tensor.shape, tensor.dtype) for name, tensor in outputs.items()]
        renamed = [
            helper.make_node("Identity", [tensor.name], [name], name)
            for name, tensor in outputs.items()
        ]
        graph = helper.make_graph(
            self._nodes + renamed,
            "dtc_jax",
            self._inputs,
            [_value(tensor) for tensor in named],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="dtc-jax",
            producer_version=versions.installed().get("dtc-jax", ""),
        )
        helper.set_model_props(model, notes)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _free(self, name: str) -> str:
        self._counts[name] = self._counts.get(name, -1) + 1
        return f"{name}_{self._counts[name]}" if self._counts[name] else name


class Tensor:
    """A value of a graph.

    Attributes:
      graph: that it belongs to.
      name: in it.
      shape: without the batch, which comes first and is symbolic.
      dtype: of NumPy.
    """

    def __init__(self, graph: Graph, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype
        self.shape = shape

    @property
    def ndim(self) -> int:
        """Axes, with that of the batch."""
        return len(self.shape) + 1

    def astype(self, dtype: Any) -> "Tensor":
        """The same in another dtype."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        kind = helper.np_dtype_to_tensor_dtype(wanted)
        return self.graph.node("Cast", [self], self.shape, wanted, to=kind)

    def reshaped(self, shape: Sequence[int], front: Sequence[int] = (0,)) -> "Tensor":
        """The same in another shape.

        Args:
          shape: behind the front.
          front: (0,) keeps the batch, (-1,) is what is left, (V, -1) divides it into V parts.
        """
        target = self.graph.constant(np.array([*front, *shape], np.int64), "shape")
        return self.graph.node("Reshape", [self, target], (*front[1:], *shape), self.dtype)

    def __getitem__(self, cut: Sequence[slice]) -> "Tensor":
        """A range of one or more axes; steps of 1, and all of the batch."""
        parts = [(axis, part) for axis, part in enumerate(cut) if part != slice(None)]
        shape = list(self.shape)
        for axis, part in parts:
            shape[axis - 1] = len(range(shape[axis - 1])[part])
        numbers = [
            [part.start or 0 for _, part in parts],
            [self.shape[axis - 1] if part.stop is None else part.stop for axis, part in parts],
            [axis for axis, _ in parts],
        ]
        names = [self.graph.constant(np.array(values, np.int64), "range") for values in numbers]
        return self.graph.node("Slice", [self, *names], shape, self.dtype)

    def __add__(self, other: Any) -> "Tensor":
        return self._with("Add", other)

    def __sub__(self, other: Any) -> "Tensor":
        return self._with("Sub", other)

    def __mul__(self, other: Any) -> "Tensor":
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> "Tensor":
        return self._with("Div", other)

    def _with(self, operator: str, other: Any) -> "Tensor":
        if isinstance(other, Tensor):
            shape = np.broadcast_shapes(self.shape, other.shape)
            return self.graph.node(operator, [self, other], shape, self.dtype)
        other = np.asarray(other, self.dtype)
        shape = np.broadcast_shapes((1, *self.shape), other.shape)[1:]
        return self.graph.node(operator, [self, self.graph.constant(other)], shape, self.dtype)


class ArrayNamespace:
    """What `imaging.preprocess` and `models.measures` use of `numpy`, on values of a graph."""

    float32 = np.float32

    @staticmethod
    def take(x: Tensor, index: np.ndarray, axis: int) -> Tensor:
        """`x` at whole indices along an axis, counted from the end or, with the batch, from 0.

        Along the last axis ONNX Runtime's Gather copies number by number, five times as slow as
        rows of them.
        """
        axis %= x.ndim
        at = x.graph.constant(np.asarray(index, np.int64), "index")
        if axis < x.ndim - 1:
            shape = [*x.shape[: axis - 1], len(index), *x.shape[axis:]]
            return x.graph.node("Gather", [x, at], shape, x.dtype, axis=axis)
        to_front, back = [axis, *range(axis)], [*range(1, x.ndim), 0]
        front = x.graph.node("Transpose", [x], x.shape, x.dtype, perm=to_front)
        taken = x.graph.node("Gather", [front, at], x.shape, x.dtype, axis=0)
        shape = [*x.shape[:-1], len(index)]
        return x.graph.node("Transpose", [taken], shape, x.dtype, perm=back)

    @staticmethod
    def clip(x: Tensor, low: float, high: float) -> Tensor:
        """`x` from `low` to `high`."""
        ends = [x.graph.constant(np.asarray(end, x.dtype)) for end in (low, high)]
        return x.graph.node("Clip", [x, *ends], x.shape, x.dtype)

    @staticmethod
    def sum(x: Tensor, axis: Sequence[int], keepdims: bool) -> Tensor:
        """The sum over axes, of which the batch is 0; they stay, with one element each."""
        return _reduced("ReduceSum", x, axis, keepdims)

    @staticmethod
    def max(x: Tensor, axis: Sequence[int], keepdims: bool) -> Tensor:
        """The largest value over axes, as `sum`."""
        return _reduced("ReduceMax", x, axis, keepdims)

    @staticmethod
    def mean(x: Tensor, axis: Sequence[int], keepdims: bool) -> Tensor:
        """The mean over axes, as `sum`."""
        return _reduced("ReduceMean", x, axis, keepdims)

    @staticmethod
    def maximum(x: Tensor, other: Any) -> Tensor:
        """The larger of two values."""
        return x._with("Max", other)

    @staticmethod
    def abs(x: Tensor) -> Tensor:
        """`x` without its sign."""
        return x.graph.node("Abs", [x], x.shape, x.dtype)

    @staticmethod
    def log(x: Tensor) -> Tensor:
        """The natural logarithm."""
        return x.graph.node("Log", [x], x.shape, x.dtype)

    @staticmethod
    def sqrt(x: Tensor) -> Tensor:
        """The square root."""
        return x.graph.node("Sqrt", [x], x.shape, x.dtype)

    @staticmethod
    def stack(parts: Sequence[Tensor], axis: int) -> Tensor:
        """Parts along a new last axis."""
        if axis != -1:
            raise ValueError("only the last axis is needed.")
        graph, shape = parts[0].graph, (*parts[0].shape, 1)
        last = graph.constant(np.array([-1], np.int64), "axis")
        apart = [graph.node("Unsqueeze", [part, last], shape, part.dtype) for part in parts]
        if len(apart) == 1:
            return apart[0]
        together = (*parts[0].shape, len(parts))
        return graph.node("Concat", apart, together, parts[0].dtype, axis=-1)


def _reduced(operator: str, x: Tensor, axis: Sequence[int], keepdims: bool) -> Tensor:
    if not keepdims:
        raise ValueError("only a reduction that keeps its axes is needed.")
    shape = [1 if number + 1 in axis else side for number, side in enumerate(x.shape)]
    axes = x.graph.constant(np.array(axis, np.int64), "axes")
    return x.graph.node(operator, [x, axes], shape, x.dtype, keepdims=1)


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    return helper.make_tensor_value_info(tensor.name, kind, [BATCH, *tensor.shape])
