"""Exported networks as `inference` calls them: ONNX Runtime answers, and nothing imports JAX."""
