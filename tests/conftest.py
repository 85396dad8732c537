"""Strict numerics for every test; eight host devices, to test data parallelism on a CPU."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
).strip()

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
