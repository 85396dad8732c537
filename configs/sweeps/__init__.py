"""The sweeps of the study; see docs/sweeps.md."""
