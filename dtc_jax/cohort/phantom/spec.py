"""The specification of a phantom cohort, and the attainable AUC of its classes."""

import dataclasses
import hashlib
import json
from typing import Any

from scipy import stats

from dtc_jax.errors import UsageError

_GENERATOR = 1  # increase it whenever the same spec gives different files


@dataclasses.dataclass(frozen=True)
class PhantomSpec:
    """A synthetic multicentre study; the defaults resemble the paper's cohorts at a smaller size.

    Each lesion has a latent score: effect · class + patient effect + lesion noise. The noise has
    variance 1 in total, of which the share `icc` is common to the lesions of a patient. Texture and
    margin of the lesion depend on the score; its mask, and so its size, does not.

    Attributes:
      patients: of the primary cohort, including those whom the selection excludes.
      external_patients: of the external cohort, from two further centres.
      seed: determines everything, for any number of processors.
      matrix: voxels of a scan along z, y, x; the anatomy fills the field of view, by default 0.6 of
        that of an adult, while lesions keep their true size.
      spacing_mm: along z, y, x.
      prevalence: share of RAI-refractory patients in the primary cohort.
      external_prevalence: the same in the external cohort, in which no patient has both classes.
      both_classes: share of primary patients with lesions of both classes.
      effect: difference of the mean scores of the classes in standard deviations; see
        `attainable_auc`.
      icc: intra-class correlation of the score within a patient, given the class.
      centers: number of centres of the primary cohort.
      center_shift: difference of the centres in HU, noise, kernel and slice distance; 0: none.
      ineligible: share of primary patients who are excluded, by each criterion in turn; with 0.16
        of 40 patients, all seven criteria occur.
      indeterminate: share of lesions whose evidence supports neither class; they have no label.
      oblique: share of scans that are tilted and stored in another axis order.
      noise_hu: standard deviation of the image noise in the first centre.
    """

    patients: int = 40
    external_patients: int = 8
    seed: int = 0
    matrix: tuple[int, int, int] = (96, 152, 200)
    spacing_mm: tuple[float, float, float] = (1.25, 1.0, 1.0)
    prevalence: float = 0.45
    external_prevalence: float = 0.67
    both_classes: float = 0.2
    effect: float = 2.4
    icc: float = 0.3
    centers: int = 1
    center_shift: float = 1.0
    ineligible: float = 0.16
    indeterminate: float = 0.04
    oblique: float = 0.2
    noise_hu: float = 20.0

    def __post_init__(self):
        object.__setattr__(self, "matrix", tuple(int(n) for n in self.matrix))
        object.__setattr__(self, "spacing_mm", tuple(float(s) for s in self.spacing_mm))
        shares = (
            "prevalence",
            "external_prevalence",
            "both_classes",
            "icc",
            "ineligible",
            "indeterminate",
            "oblique",
        )
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"phantom.{name} is {getattr(self, name)}; it must be in [0, 1].")
        for name in ("external_patients", "center_shift", "noise_hu"):
            if getattr(self, name) < 0:
                raise UsageError(f"phantom.{name} is {getattr(self, name)}; it must be at least 0.")
        for name in ("patients", "centers"):
            if getattr(self, name) < 1:
                raise UsageError(f"phantom.{name} is {getattr(self, name)}; it must be at least 1.")
        if len(self.matrix) != 3 or len(self.spacing_mm) != 3 or min(self.spacing_mm) <= 0:
            raise UsageError("phantom.matrix and phantom.spacing_mm need three positive numbers.")
        fov_mm = [n * s for n, s in zip(self.matrix, self.spacing_mm, strict=True)]
        if min(fov_mm) < 110 or fov_mm[2] < 150:
            sides = " × ".join(f"{side:.0f}" for side in fov_mm)
            raise UsageError(
                f"phantom.matrix × phantom.spacing_mm is {sides} mm (z, y, x); lungs with "
                "lesions of 30 mm need at least 110 × 110 × 150 mm."
            )


def attainable_auc(spec: PhantomSpec) -> float:
    """AUC of the latent score, the maximum for a reader of single lesions.

    The scores of the classes are normal with unit variance and means `effect` apart: Φ(effect /
      √2).
    A reader who pools the lesions of a patient can exceed it, since most patients have only one
    class; a reader of images is below it, since small lesions show less (see `lesion.render`).
    """
    return float(stats.norm.cdf(spec.effect / 2**0.5))


def contents(spec: PhantomSpec) -> dict[str, Any]:
    """Everything that determines the files of a phantom cohort, as JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    return {"generator": _GENERATOR, **plain}


def fingerprint(spec: PhantomSpec) -> str:
    """A hash that is equal for two specs if and only if they give the same files."""
    return hashlib.sha256(json.dumps(contents(spec), sort_keys=True).encode()).hexdigest()
