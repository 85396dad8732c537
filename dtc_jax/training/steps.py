"""The training and the prediction step: pure functions shared by jit and pmap.

Nothing here names a device. Under jit a step sees the global batch; under pmap it sees one device's
rows and adds the sums of all devices up over `axis_name`. Both therefore minimise the same number,
sum / weight of the global batch, from the same random numbers.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dtc_jax.training import state as state_lib
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

Metrics = dict[str, tuple[jax.Array, jax.Array]]
TrainStep = Callable[..., tuple[state_lib.TrainState, Metrics]]
PredictStep = Callable[[PyTree, PyTree, Batch], dict[str, jax.Array]]


def example_keys(seed: int | jax.Array, step: jax.Array, index: jax.Array) -> jax.Array:
    """One key an example: fold_in(fold_in(key(seed), step), index). # [B]

    They depend on the example's number in the data set, not on its place in the batch or on its
    device, so every way to run a step draws the same numbers; and no key needs to be carried.

    Args:
      seed: of the run.
      step: updates so far.
      index: numbers of the examples in the data set, [B].
    """
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(index)


def gathered(batch: Batch) -> Batch:
    """A batch whose rows are in a set on the devices, with them; any other as it is.

    Args:
      batch: {"row": int32 [B], "set": arrays [N, ...]}, see `resident`, or arrays [B, ...].

    Returns:
      Arrays [B, ...].
    """
    if "set" not in batch:
        return batch
    take = lambda x: x.at[batch["row"]].get(mode="promise_in_bounds")  # noqa: E731
    # The barrier keeps the compiler from joining this to what follows, which it might then round
    # in another way than for a batch from the host.
    return jax.lax.optimization_barrier(jax.tree.map(take, batch["set"]))


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    seed: int | jax.Array,
    ema_decay: float = 0.0,
    accumulate: int = 1,
) -> TrainStep:
    """Builds (state, batch, axis_name=None) -> (new state, metrics as (sum, count)).

    The metrics are those of the task plus `loss` (what is minimised, unless the task says
    otherwise), `grad_norm` (before the optimizer's clipping), `update_norm` and `param_norm`
    (before the update).
    With `ema_decay` d > 0 the average follows ema <- d' ema + (1 - d') params, where
    d' = min(d, (1 + t) / (10 + t)) lets it leave the random start quickly (as in TensorFlow's
    ExponentialMovingAverage). A loss or gradient that is not finite is noted in the state.

    The rows of a batch that names those of a set on the devices are taken from it first, see
    `gathered`.

    With `accumulate` A > 1 the rows go through the network in A parts of B / A, one after another,
    and their sums are added up: the same step in less memory, from the same random numbers. Batch
    normalisation alone sees the parts: each is normalised by its own statistics, and the running
    ones move A times. Under pmap the parts are those of each device's rows.
    """

    def train_step(
        state: state_lib.TrainState, batch: Batch, axis_name: str | None = None
    ) -> tuple[state_lib.TrainState, Metrics]:
        batch = gathered(batch)

        def over_devices(sums: PyTree) -> PyTree:
            return sums if axis_name is None else jax.lax.psum(sums, axis_name)

        def of_rows(batch_stats: PyTree, rows: Batch) -> tuple[PyTree, LossOut]:
            keys = example_keys(seed, state.step, rows["index"])

            def summed_loss(params: PyTree) -> tuple[jax.Array, LossOut]:
                out = task.loss(params, batch_stats, rows, keys, axis_name)
                return out.sum, out

            return jax.grad(summed_loss, has_aux=True)(state.params)

        if accumulate == 1:
            grads, out = of_rows(state.batch_stats, batch)
        else:
            grads, out = _added_up(of_rows, state.batch_stats, batch, accumulate)
        grads, total, weight, metrics = over_devices((grads, out.sum, out.weight, out.metrics))
        # Augmentation may find no example of a batch usable; its gradient is then 0, not NaN.
        divisor = jnp.where(weight > 0, weight, 1.0)
        grads = jax.tree.map(lambda g: g / divisor, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)

        step = state.step + 1
        grad_norm = optax.tree.norm(grads)
        bad = ~(jnp.isfinite(total) & jnp.isfinite(grad_norm))
        is_first = bad & (state.first_bad_step == state_lib.NEVER)
        new_state = dataclasses.replace(
            state,
            step=step,
            params=params,
            batch_stats=out.batch_stats,
            opt_state=opt_state,
            ema=_averaged(state.ema, params, step, ema_decay),
            first_bad_step=jnp.where(is_first, step, state.first_bad_step),
        )
        one = jnp.ones((), jnp.float32)
        norms = {
            "grad_norm": grad_norm,
            "update_norm": optax.tree.norm(updates),
            "param_norm": optax.tree.norm(state.params),
        }
        return new_state, {
            "loss": (total, weight),
            **metrics,
            **{name: (norm, one) for name, norm in norms.items()},
        }

    return train_step


def _added_up(
    of_rows: Callable[[PyTree, Batch], tuple[PyTree, LossOut]],
    batch_stats: PyTree,
    batch: Batch,
    parts: int,
) -> tuple[PyTree, LossOut]:
    """The gradient and the sums of `of_rows` over the parts of a batch.

    Part i has the rows i, i + parts, …: where the rows are spread over devices in blocks, each
    device has its share of every part.
    """
    split = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(carry: tuple[PyTree, PyTree], rows: Batch) -> tuple[tuple[PyTree, PyTree], None]:
        stats, sums = carry
        grads, out = of_rows(stats, rows)
        new = (grads, out.sum, out.weight, out.metrics)
        return (out.batch_stats, jax.tree.map(jnp.add, sums, new)), None

    grads, out = jax.eval_shape(of_rows, batch_stats, jax.tree.map(lambda x: x[0], split))
    shapes = (grads, out.sum, out.weight, out.metrics)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (stats, sums), _ = jax.lax.scan(add, (batch_stats, zeros), split)
    grads, total, weight, metrics = sums
    return grads, LossOut(total, weight, metrics, stats)


def _averaged(ema: PyTree, params: PyTree, step: jax.Array, decay: float) -> PyTree:
    if ema is None:
        return None
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: kept * e + (1.0 - kept) * p, ema, params)


def make_predict_step(task: Task) -> PredictStep:
    """Builds (params, batch_stats, batch) -> dict of arrays [B, ...], without any randomness."""

    def predict_step(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        return task.predict(params, batch_stats, batch)

    return predict_step
