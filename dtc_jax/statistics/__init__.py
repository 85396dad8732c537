"""Statistics of clustered lesions: arrays in, numbers out."""
