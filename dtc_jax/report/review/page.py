"""The review page: one HTML file that needs no other file."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np

from dtc_jax import storage
from dtc_jax.report import page as report_page
from dtc_jax.report.review import finding as finding_lib
from dtc_jax.report.review import voxels
from dtc_jax.report.review.finding import Finding
from dtc_jax.report.review.overview import Overview

NOTICE = "For research use only"
_COLORS = np.linspace(0.3, 1, 256)  # of inferno, whose first third is as dark as lung


@dataclasses.dataclass(frozen=True)
class About:
    """The header of the page.

    Attributes:
      title: a pseudonym or the id of the scan, never the identity of a patient.
      threshold: a lesion with at least this probability is classified as refractory.
      lines: further details, as (name, value).
      warnings: sentences that a reader must see before judging.
      slices: what the numbers of the slices are, in words.
      overview: of the whole chest; None for none.
      file: what the CSV of the review is named after; '' for `title`.
      none: what is said in place of lesions where there are none.
    """

    title: str
    threshold: float
    lines: Sequence[tuple[str, str]]
    slices: str = ""
    overview: Overview | None = None
    file: str = ""
    none: str = "No lesion was found in this scan. There is nothing to review."
    warnings: Sequence[str] = ()


def write_page(path: storage.PathLike, findings: Iterable[Finding], about: About) -> None:
    """Writes the page on which `findings` are reviewed.

    It shows three views of each lesion. The reader accepts, rejects and comments, and downloads the
    CSV of `read_decisions`. The page loads nothing and sends nothing.

    Args:
      path: the HTML file.
      findings: consumed one at a time; only their packed form, about 0.1 MB per lesion, stays in
        memory.
      about: the header of the page.
    """
    lesions, blocks, digest = [], [], hashlib.sha256()
    for finding in findings:
        packed, block = voxels.pack(finding)
        lesions.append(_entry(finding, about) | packed)
        blocks.append((finding.lesion_id, block))
        digest.update(json.dumps(lesions[-1]).encode() + block.encode())
    content = {
        "lesions": lesions,
        "key": digest.hexdigest()[:32],
        "file": f"{file_stem(about.file or about.title)}.csv",
        "notice": NOTICE,
        "overview": about.overview.pictures if about.overview else [],
        "levels": voxels.LEVELS.tolist(),
        "heatStep": voxels.HEAT_STEP,
        "colors": (matplotlib.colormaps["inferno"](_COLORS)[:, :3] * 255).round().tolist(),
    }
    template = report_page.templates().get_template("review/page.html")
    stream = template.stream(about=about, notice=NOTICE, content=content, blocks=blocks)
    with storage.atomic(path) as partial:
        stream.dump(str(partial), encoding="utf-8")


def _entry(finding: Finding, about: About) -> dict[str, Any]:
    """The data of a lesion on the page, except its voxels."""
    row = finding.measures
    number = lambda name: finding_lib.finite(row.get(name))  # noqa: E731
    threshold, center_mm = number("threshold"), finding_lib.center_mm(row)
    certainty = number("lesion_probability")
    return {
        "id": int(finding.lesion_id),
        "probability": number("refractory_probability"),
        "threshold": about.threshold if threshold is None else threshold,
        "decision": finding_lib.decision(row.get("decision", "")),
        "diameter": number("diameter_mm"),
        "short": number("short_axis_mm"),
        "side": row.get("side") or "",
        "slice": number("slice"),
        "certainty": number("mean_probability") if certainty is None else certainty,
        "lesion": certainty,
        "folded": row.get("is_lesion") is not None and not row["is_lesion"],
        "marks": about.overview.marks(center_mm) if about.overview and center_mm else {},
        "facts": finding_lib.facts(row, about.slices),
    }


def file_stem(title: str) -> str:
    """The name of the CSV of a review, without its suffix."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in title)
    return f"review_{'-'.join(part for part in kept.split('-') if part)[:60] or 'scan'}"
