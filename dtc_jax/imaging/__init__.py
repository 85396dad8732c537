"""Scans, masks and lesions in millimetres, with NumPy and SciPy, without JAX."""
