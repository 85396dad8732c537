"""Draws docs/graph.png: the first nodes of an ONNX model, such as that of a bundle.

.venv/bin/python -m docs.graph_picture bundle/triton/classification/1/model.onnx docs/graph.png
"""

import collections
import sys

import matplotlib.pyplot as plt
import onnx

_NODES = 56  # of the demo's SE-Net: to the end of its first stage
_LEVELS = 14  # below each other
_WIDTH, _HEIGHT = 0.94, 0.66  # of a box; a lane is 1 wide, a level 1 high
_COLORS = {"Conv": "#f4c7a1", "MatMul": "#cfe3f5", "Reshape": "#eeeeee"}


def main(model: str, out: str) -> None:
    """Writes the picture `out` of the file `model`."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(model)).graph
    constants = {array.name for array in graph.initializer}
    shapes = {
        value.name: _text(value) for value in (*graph.input, *graph.value_info, *graph.output)
    }
    parents: dict[str, list[str]] = {value.name: [] for value in graph.input}
    titles = {value.name: value.name for value in graph.input}
    for node in graph.node:
        given = [name for name in node.input if name and name not in constants]
        if not given:  # such as a kernel whose planes are combined
            constants.update(node.output)
        elif all(name in titles for name in given) and len(titles) < _NODES:
            parents[node.output[0]] = given
            titles[node.output[0]] = node.op_type
    _draw(titles, parents, shapes, out)


def _draw(
    titles: dict[str, str], parents: dict[str, list[str]], shapes: dict[str, str], out: str
) -> None:
    places = _places(parents)
    right, bottom = (max(one[i] for one in places.values()) for i in (0, 1))
    figure, axes = plt.subplots(figsize=(1.6 * (right + 1), 0.5 * (bottom + 1)))
    for name, (x, y) in places.items():
        color = _COLORS.get(titles[name], "white" if parents[name] else "#d9ead3")
        corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
        axes.add_patch(plt.Rectangle(corner, _WIDTH, _HEIGHT, facecolor=color, edgecolor="0.5"))
        axes.text(x, y - 0.13, titles[name], ha="center", va="center", fontsize=7.5)
        axes.text(x, y + 0.17, shapes[name], ha="center", va="center", fontsize=6, color="0.3")
        for parent in parents[name]:
            x_from, y_from = places[parent]
            if y_from < y and x_from > x:
                ends = (x + _WIDTH / 2, y), (x_from, y_from + _HEIGHT / 2)
            elif y_from < y:
                ends = (x, y - _HEIGHT / 2), (x_from, y_from + _HEIGHT / 2)
            else:  # in the column before
                ends = (x - _WIDTH / 2, y), (x_from + _WIDTH / 2, y_from)
            axes.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": "0.4", "lw": 0.8})
    axes.set(xlim=(-0.6, right + 0.6), ylim=(bottom + 0.5, -0.5))
    axes.set_axis_off()
    figure.savefig(out, dpi=130, bbox_inches="tight")


def _places(parents: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Where each node stands: as deep as its longest way from an input, in columns.

    It is below its first parent where that place is free, and beside it where it is not.
    """
    depths: dict[str, int] = {}
    lanes: dict[str, int] = {}
    taken: dict[int, set[int]] = collections.defaultdict(set)
    for name, given in parents.items():
        depths[name] = 1 + max((depths[parent] for parent in given), default=-1)
        lane = min((lanes[parent] for parent in given), default=0)
        while lane in taken[depths[name]]:
            lane += 1
        lanes[name] = lane
        taken[depths[name]].add(lane)
    lefts, left = [], 0.0
    for first in range(0, max(taken) + 1, _LEVELS):
        lefts.append(left)
        wide = max(max(taken[depth], default=0) for depth in range(first, first + _LEVELS))
        left += wide + 1.3
    return {
        name: (lefts[depths[name] // _LEVELS] + lanes[name], float(depths[name] % _LEVELS))
        for name in parents
    }


def _text(value: onnx.ValueInfoProto) -> str:
    """The shape of a value; B is the batch, N a multiple of it."""
    sides = value.type.tensor_type.shape.dim
    texts = ["B" if side.dim_param == "batch" else str(side.dim_value or "N") for side in sides]
    return " × ".join(texts)


if __name__ == "__main__":
    main(*sys.argv[1:])
