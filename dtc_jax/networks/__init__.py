"""Trained networks as `inference` calls them, computed by JAX on the default device."""
