"""dtc-jax: find lung metastases of thyroid cancer on CT and tell which are RAI-refractory."""
