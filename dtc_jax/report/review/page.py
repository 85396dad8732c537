"""The review page: one HTML file that needs nothing else."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np

from dtc_jax import storage
from dtc_jax.report import templating
from dtc_jax.report.review import measures, voxels
from dtc_jax.report.review.finding import About, Finding

NOTICE = "For research use only"
_COLORS = np.linspace(0.3, 1, 256)  # of inferno; its first third is as dark as lung


def write_page(path: storage.PathLike, findings: Iterable[Finding], about: About) -> None:
    """Writes the page on which `findings` are reviewed.

    It shows three views of each lesion and takes accept, reject and comments, which the reader
    downloads as the CSV of `read_decisions`. It loads nothing and sends nothing.

    Args:
      path: the HTML file.
      findings: taken one at a time, so that they may be made as they are needed; only their packed
        form, about 0.25 MB a lesion, is kept.
      about: the head of the page.
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
        "file": f"review_{_slug(about.title)}.csv",
        "notice": NOTICE,
        "levels": voxels.LEVELS.tolist(),
        "heatStep": voxels.HEAT_STEP,
        "colors": (matplotlib.colormaps["inferno"](_COLORS)[:, :3] * 255).round().tolist(),
    }
    template = templating.environment().get_template("review/page.html")
    stream = template.stream(about=about, notice=NOTICE, content=content, blocks=blocks)
    with storage.atomic(path) as partial:
        stream.dump(str(partial), encoding="utf-8")


def _entry(finding: Finding, about: About) -> dict[str, Any]:
    """What the page says of a lesion, besides its voxels."""
    row = finding.measures
    threshold = measures.finite(row.get("threshold"))
    return {
        "id": int(finding.lesion_id),
        "probability": measures.finite(row.get("refractory_probability")),
        "threshold": about.threshold if threshold is None else threshold,
        "decision": measures.decision(row.get("decision", "")),
        "diameter": measures.finite(row.get("diameter_mm")),
        "facts": measures.facts(row),
    }


def _slug(title: str) -> str:
    """A title as part of a file's name."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in title)
    return "-".join(part for part in kept.split("-") if part)[:60] or "scan"
