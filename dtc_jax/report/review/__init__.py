"""The page on which a reader reviews the lesions of a scan, and the reader of its decisions."""

from dtc_jax.report.review.decisions import check_same_answer, read_decisions, read_labels
from dtc_jax.report.review.finding import Finding
from dtc_jax.report.review.overview import Overview
from dtc_jax.report.review.overview import make as make_overview
from dtc_jax.report.review.page import About, file_stem, write_page

__all__ = [
    "About",
    "Finding",
    "Overview",
    "check_same_answer",
    "file_stem",
    "make_overview",
    "read_decisions",
    "read_labels",
    "write_page",
]
