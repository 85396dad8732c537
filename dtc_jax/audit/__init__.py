"""Recomputes the figures that a paper prints from one another, and reports contradictions."""
