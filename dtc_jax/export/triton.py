"""The model repository of a Triton server, in which a bundle's ONNX model stands."""

from dtc_jax.export.served import Array, Served

_DTYPES = {"int16": "TYPE_INT16", "uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_QUEUE_MICROSECONDS = 2000  # how long a request waits for others to share a batch with


def path(served: Served) -> str:
    """Where the ONNX model stands in a bundle."""
    return f"triton/{served.network.config.task}/1/model.onnx"


def config(served: Served) -> str:
    """The text of config.pbtxt: ONNX Runtime, requests of several clients batched together."""
    batch = int(served.network.config.predict.batch_size)
    lines = [
        f'name: "{served.network.config.task}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {batch}",
        *_arrays("input", served.inputs),
        *_arrays("output", served.outputs),
        f"dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_MICROSECONDS} }}",
    ]
    return "\n".join(lines) + "\n"


def _arrays(kind: str, arrays: tuple[Array, ...]) -> list[str]:
    items = []
    for one in arrays:
        # What has no axis but the batch, which Triton adds by itself, needs one here all the same.
        dims = ", ".join(map(str, one.shape)) or "1"
        scalar = "" if one.shape else " reshape: { shape: [ ] }"
        fields = f'name: "{one.name}" data_type: {_DTYPES[one.dtype]} dims: [ {dims} ]{scalar}'
        items.append(f"  {{ {fields} }}")
    return [f"{kind} [", ",\n".join(items), "]"]
