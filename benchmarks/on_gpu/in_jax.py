"""The project's own training step, prediction and augmentation, without its configurations.

Of the project are the networks, the losses, the augmentation, the optimizer, `steps`, `state` and
`parallel`. Rebuilt is what `dtc_jax.tasks` makes of a configuration, the `Task` alone, since those
modules import what reads tables and records.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.on_gpu.cases import OPTIMIZER, Case
from benchmarks.on_gpu.timing import Peer
from dtc_jax.imaging.preprocess import IGNORED, Preprocess, normalize
from dtc_jax.models.conv import Form
from dtc_jax.models.senet import SENet
from dtc_jax.models.vnet import VNet
from dtc_jax.tasks import losses, segmentation_losses
from dtc_jax.training import augment, optimizer, parallel, state, steps
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

DTYPES = {"bf16": jnp.bfloat16, "tf32": jnp.float32}  # on a GPU, XLA takes float32 for TF32


@dataclasses.dataclass
class Training:
    """A compiled step and where it stands.

    Attributes:
      step: (state, batch) -> (state, metrics).
      state: given away in each step.
      how: places batches.
      compile_s: seconds.
      peak_gib: as the compiler plans it: temporary values, arguments and results.
    """

    step: Callable[..., Any]
    state: Any
    how: parallel.Parallel
    compile_s: float
    peak_gib: float | None

    def run(self, batches: Iterable[Batch]) -> None:
        """A step for each batch, and waits for the last."""
        for batch in batches:
            self.state, _ = self.step(self.state, batch)
        jax.block_until_ready(self.state)


def network(case: Case, dtype: str, remat: bool = False, form: Form = "auto") -> SENet | VNet:
    """The network of a case."""
    kind = SENet if case.task == "classification" else VNet
    return kind(**case.model, dtype=DTYPES[dtype], remat=remat, conv=form)


def preprocess_spec(case: Case) -> Preprocess:
    """How its records become its input."""
    if case.task == "classification":
        return Preprocess(crop_mm=case.crop)
    return Preprocess(crop_mm=case.crop, grid="scan", antialias="gaussian")


def make_task(case: Case, dtype: str, *, augmented: bool, remat: bool = False) -> Task:
    """The task as the trainer knows it.

    Args:
      case: see `Case`.
      dtype: of the computation.
      augmented: whether a batch is one of stored records, as in a training, or has the input
        `x` [B, D, H, W, 1] and the `target` [B, D, H, W] ready, as PyTorch's has.
      remat: see `SENet`.
    """
    net, spec = network(case, dtype, remat), preprocess_spec(case)
    strength = SimpleNamespace(**case.augment)
    loss_fields = SimpleNamespace(name=case.loss, smoothing=1.0, empty="count")

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        variables = net.init(key, jnp.zeros((1, *spec.shape, 1)), train=False)
        return variables["params"], variables["batch_stats"]

    def drawn(batch: Batch, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        if not augmented:
            return batch["x"], batch["target"]
        one = functools.partial(augment.augment, spec=spec, strength=strength)
        hu, target, ignored, _ = jax.vmap(one)(keys, batch["image"], batch["mask"], batch["extent"])
        return normalize(hu, target, spec, jnp), jnp.where(ignored, 0.0, target)

    def loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: jax.Array, axis_name: str | None
    ) -> LossOut:
        x, target = drawn(batch, keys)
        variables = {"params": params, "batch_stats": batch_stats}
        logits, updates = net.clone(axis_name=axis_name).apply(
            variables, x, train=True, mutable=["batch_stats"]
        )
        if case.task == "classification":
            total, weight = losses.sigmoid_cross_entropy(logits, batch["label"], batch["weight"])
        else:
            rows = segmentation_losses.example_losses(logits, target, loss_fields)
            total, weight = (batch["weight"] * rows).sum(), batch["weight"].sum()
        return LossOut(total, weight, {}, updates["batch_stats"])

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        logits = net.apply({"params": params, "batch_stats": batch_stats}, batch["x"], train=False)
        return {"logit": logits}

    return Task(init, loss, predict, lambda outputs: {}, "loss", "min")


def records(case: Case, count: int) -> Batch:
    """Drawn stored records, as a batch of the project has them."""
    rng = np.random.default_rng(0)
    mask = np.zeros((count, *case.stored), np.uint8)
    mask[(slice(None), *(slice(n // 3, n // 2) for n in case.stored))] = 1
    mask[:, :1, :1] = IGNORED
    return {
        "image": rng.integers(-1000, 400, mask.shape, np.int16),
        "mask": mask,
        "extent": np.tile(np.array([[0, n] for n in case.stored], np.int32), (count, 1, 1)),
        **_per_example(count),
    }


def ready(case: Case, count: int) -> Batch:
    """Drawn input and target that need no more work."""
    rng = np.random.default_rng(0)
    target = np.zeros((count, *case.crop), np.float32)
    target[(slice(None), *(slice(n // 3, n // 2) for n in case.crop))] = 1.0
    x = rng.random((count, *case.crop, 1), np.float32)
    return {"x": x, "target": target, **_per_example(count)}


def _per_example(count: int) -> Batch:
    return {
        "label": np.arange(count, dtype=np.float32) % 2,
        "weight": np.ones(count, np.float32),
        "index": np.arange(count, dtype=np.int32),
        "valid": np.ones(count, np.float32),
    }


def training(task: Task, batch: Batch, kind: str = "jit") -> Training:
    """The project's step, compiled for batches like `batch`, which are on the host."""
    adam = optimizer.make_optimizer(OPTIMIZER, total_steps=1000)
    how = parallel.make(kind, jax.devices()[:1])
    created = jax.jit(lambda: state.create(task, adam, seed=0, ema=False))()
    placed, batch = how.place(created), how.shard(batch)
    start = time.monotonic()
    made_step = steps.make_train_step(task, adam, seed=0)
    step = how.compile_train(lambda: made_step)
    if kind == "jit":
        step = step.lower(placed, batch).compile()
        compile_s = time.monotonic() - start
    made = Training(step, placed, how, 0.0, planned_gib(step))
    made.run([batch])
    made.compile_s = compile_s if kind == "jit" else time.monotonic() - start
    return made


def train_peer(case: Case, dtype: str, batch: int, remat: bool = False, kind: str = "jit") -> Peer:
    """Steps on one batch that lies on the device."""
    drawn = ready(case, batch)
    made = training(make_task(case, dtype, augmented=False, remat=remat), drawn, kind)
    there = made.how.shard(drawn)
    return Peer(lambda turns: made.run([there] * turns), made.compile_s, made.peak_gib)


def infer_peer(case: Case, dtype: str, batch: int) -> Peer:
    """Predictions of one batch that lies on the device."""
    task = make_task(case, dtype, augmented=False)
    variables = jax.jit(task.init)(jax.random.key(0))
    there = jax.device_put({"x": ready(case, batch)["x"]})
    start = time.monotonic()
    compiled = jax.jit(task.predict).lower(*variables, there).compile()
    compile_s = time.monotonic() - start

    def run(turns: int) -> None:
        last = None
        for _ in range(turns):
            last = compiled(*variables, there)
        jax.block_until_ready(last)

    run(1)
    return Peer(run, compile_s, planned_gib(compiled))


def planned_gib(compiled: Any) -> float | None:
    """Memory that the compiler plans for a program, its arguments and its results."""
    try:
        plan = compiled.memory_analysis()
        size = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
        return (size - plan.alias_size_in_bytes) / 2**30
    except (AttributeError, NotImplementedError, TypeError, jax.errors.JaxRuntimeError):
        return None


def parameters(case: Case) -> int:
    """How many the network has."""
    params, _ = jax.eval_shape(make_task(case, "tf32", augmented=False).init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def forward_flops(case: Case) -> float:
    """Operations of all convolutions and matrix products on one crop, two a multiply-add.

    Counted in the traced prediction with native convolutions, voxels of the padding included. A
    training step is taken for three of them, which counts a gradient that is not computed, that
    of the input of the first convolution.
    """
    net = network(case, "tf32", form="native")
    task = make_task(case, "tf32", augmented=False)
    params, stats = jax.eval_shape(task.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((1, *case.crop, 1), jnp.float32)
    apply = functools.partial(net.apply, train=False)
    traced = jax.make_jaxpr(apply)({"params": params, "batch_stats": stats}, x)
    return _operations(traced.jaxpr)


def _operations(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            total += _operations(inner) if hasattr(inner, "eqns") else 0.0
        if equation.primitive.name not in ("conv_general_dilated", "dot_general"):
            continue
        left, right = (operand.aval.shape for operand in equation.invars[:2])
        out = equation.outvars[0].aval.shape
        if equation.primitive.name == "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            total += 2.0 * math.prod(out) * math.prod(left[axis] for axis in contracted)
        else:  # [k, k, k, C, F]
            total += 2.0 * math.prod(out) * math.prod(right[:-1])
    return total
