"""Trained networks on whole scans and the lesions found in them."""
