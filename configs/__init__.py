"""The configurations of the networks; the docstring of each file says what its variants cost."""
