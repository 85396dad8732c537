"""Scans, masks and lesions in millimetres: NumPy and SciPy, no JAX."""
