"""Patches of scans with their lesions' masks."""

from datasets.ct_patches.ct_patches_dataset_builder import Builder

__all__ = ["Builder"]
