"""Numbers out of labels, scores and patient ids. No JAX, no files, no images."""
