"""A MedMNIST 3-D npz with its official split."""

from datasets.medmnist3d.medmnist3d_dataset_builder import Builder

__all__ = ["Builder"]
