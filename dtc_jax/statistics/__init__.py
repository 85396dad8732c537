"""Numbers out of labels, scores and patient ids. No JAX, no images; one file reads a CSV."""
