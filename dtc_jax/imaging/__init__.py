"""Scans, masks and lesions in millimetres: NumPy only."""
