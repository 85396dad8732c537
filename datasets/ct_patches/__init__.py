"""Patches of scans with masks of the lesions."""

from datasets.ct_patches.ct_patches_dataset_builder import Builder

__all__ = ["Builder"]
