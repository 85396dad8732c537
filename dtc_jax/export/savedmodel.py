"""A trained network as TensorFlow's SavedModel, for TensorFlow and TensorFlow Serving.

`jax2tf` wraps the StableHLO of `jax.export` in one operation, which TensorFlow has XLA compile, for
each size of batch anew. The weights stand beside it as variables of TensorFlow.
"""

import pathlib
from typing import Any

import jax
import numpy as np

from dtc_jax.errors import InputError, one_line
from dtc_jax.export.served import BATCH, Array, Served
from dtc_jax.export.stablehlo import PLATFORMS, without_folders

SIGNATURE = "serving_default"  # that TensorFlow Serving answers with if none is named


def path(served: Served) -> str:
    """Where the SavedModel stands in a bundle: as version 1 of a model of TensorFlow Serving."""
    return f"tensorflow_serving/{served.network.config.task}/1"


def write(served: Served, folder: pathlib.Path) -> None:
    """Writes the SavedModel.

    Its one signature has the names, shapes and dtypes of `served.inputs` and `served.outputs`, with
    any batch, and refuses others in one message.

    Args:
      served: what is to be computed.
      folder: new.

    Raises:
      InputError: TensorFlow cannot be loaded beside JAX, is too old for what JAX writes, or cannot
        write.
    """
    try:
        import tensorflow as tf
        from jax.experimental import jax2tf
    except Exception as error:  # libraries that do not go together raise all kinds
        raise InputError(
            f"--format=savedmodel: TensorFlow cannot be loaded beside JAX "
            f"({one_line(error, 200)}); run "
            "pip install --upgrade 'dtc-jax[savedmodel]', or omit savedmodel from --format."
        ) from error
    tf.config.set_visible_devices([], "GPU")  # whose memory it would take all of
    model = tf.Module()
    model.weights = jax.tree.map(
        lambda leaf: tf.Variable(np.asarray(leaf), trainable=False), served.network.variables
    )
    computed = jax2tf.convert(
        served.answer,
        polymorphic_shapes=[None, *[f"({BATCH}, ...)"] * len(served.inputs)],
        with_gradient=False,
        native_serialization_platforms=PLATFORMS,
    )

    def answer(*arrays: Any) -> dict[str, Any]:
        checks = [
            tf.debugging.assert_equal(tf.shape(array)[1:], one.shape, _wanted(one))
            for one, array in zip(served.inputs, arrays, strict=True)
        ]
        with tf.control_dependencies(checks):
            return computed(model.weights, *map(tf.identity, arrays))

    model.answer = tf.function(
        answer,
        [tf.TensorSpec((None, *one.shape), one.dtype, one.name) for one in served.inputs],
        autograph=False,
    )
    try:
        with without_folders():
            tf.saved_model.save(model, str(folder), {SIGNATURE: model.answer})
    except NotImplementedError as error:  # by jax2tf, of an operation that is too new
        raise InputError(
            f"--format=savedmodel: TensorFlow {tf.__version__} is too old for JAX "
            f"{jax.__version__} ({one_line(error, 200)}); install a newer one, or omit "
            "savedmodel from --format."
        ) from error
    except tf.errors.OpError as error:  # such as a full disk
        raise InputError(
            f"--format=savedmodel: cannot be written ({one_line(error, 200)})."
        ) from error


def _wanted(one: Array) -> str:
    return f"{one.name}: give {one.dtype} [B, {', '.join(map(str, one.shape))}]"
