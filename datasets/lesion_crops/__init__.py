"""Crops of the lesions of a manifest."""

from datasets.lesion_crops.lesion_crops_dataset_builder import Builder

__all__ = ["Builder"]
