"""What is copied into a bundle as it stands: nothing here imports dtc_jax."""
