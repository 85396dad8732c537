"""The one trainer: batches, augmentation, steps, checkpoints, loop."""
