"""TFDS builders; see `python -m datasets.build --help`."""
