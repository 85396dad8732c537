"""Sweeps: one configuration in many variants, trained, compared, and put into one table."""
