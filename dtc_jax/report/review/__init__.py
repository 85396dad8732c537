"""The page on which a reader reviews the lesions of a scan, and the reader of its decisions."""

from dtc_jax.report.review.decisions import read_decisions
from dtc_jax.report.review.finding import About, Finding
from dtc_jax.report.review.page import write_page

__all__ = ["About", "Finding", "read_decisions", "write_page"]
