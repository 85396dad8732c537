"""The public interface for Python, on arrays and tables; each function is also `dtc_jax.NAME`.

    import dtc_jax

    config = dtc_jax.get_config("senet:demo", {"train.epochs": 10})
    evaluation = dtc_jax.train(config, "runs/mine")
    print(evaluation.metrics["network"]["primary"]["test"]["auc"])

    scan = dtc_jax.read_scan("ct/")
    networks = dtc_jax.load_predictors("runs/segmenter", "runs/mine")
    answer = dtc_jax.predict(scan, networks)
    print(answer.table[["lesion_id", "diameter_mm", "refractory_probability", "decision"]])

Errors that a caller can act on are `dtc_jax.errors.InputError`: they name the file, the row or the
field, and say what to do.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd

from dtc_jax.archive import address, dicomweb
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, in_memory
from dtc_jax.imaging import lungs as lungs_lib
from dtc_jax.imaging.numbering import Slices
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import predictors
from dtc_jax.prediction.answer import Answer
from dtc_jax.prediction.predictors import Predictors
from dtc_jax.storage import PathLike

if TYPE_CHECKING:  # what trains needs JAX, and prediction from bundles does without
    import ml_collections

    from dtc_jax.tasks.definition import Evaluation

CONFIGS = ("senet", "vnet", "candidates", "pipeline")
_NO_NUMBERS = Slices(0, (), "none: the scan was given in memory")


def read_scan(path: PathLike, series: int | str | None = None) -> Volume:
    """Reads a CT of any orientation: `array` in HU [Z, Y, X], `affine` to RAS millimetres.

    Args:
      path: NIfTI, NRRD or MHA, or a folder of DICOM files; or the address of a series in an
        archive, dicomweb://HOST/PATH/studies/UID/series/UID, see `dtc_jax.archive.address`.
      series: SeriesNumber or SeriesInstanceUID in a DICOM folder; None: the largest axial series.

    Raises:
      InputError: it cannot be read, or is no CT in HU.
      UsageError: the address names no series, or `series` is given with it.
    """
    if series is not None and address.is_address(path):
        raise UsageError("path is the address of one series; omit series.")
    with dicomweb.fetched(path, "path") as local:
        return ct.read(local, series)


def from_array(
    hu: npt.ArrayLike,
    spacing_mm: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
) -> Volume:
    """A CT from an array, checked and turned as one from a file is; give one of the two others.

    Args:
      hu: [Z, Y, X] in HU. With `spacing_mm`, indices rise to the head, to the front and to the
        patient's right hand (RAS+).
      spacing_mm: distance of neighbouring voxels along z, y, x.
      affine: [4, 4]; maps a voxel index (z, y, x, 1) to RAS world coordinates in mm. Axes that run
        the other way are turned, so the result may be a mirror image of the array.

    Raises:
      InputError: the array is not 3-D, contains NaN, or cannot be a CT in HU.
      UsageError: neither spacing nor affine is given, or both are.
    """
    array = np.asarray(hu)
    if (spacing_mm is None) == (affine is None):
        raise UsageError("give spacing_mm=(z, y, x) or affine with the array.")
    if affine is None:
        return in_memory.read_ct(array, spacing_mm)
    if np.shape(affine) != (4, 4):
        raise InputError(f"affine has the shape {np.shape(affine)}; it must be 4 × 4.")
    of_xyz = np.asarray(affine, float)[:, [2, 1, 0, 3]]
    return in_memory.read_ct(nib.spatialimages.SpatialImage(array.T, of_xyz))


def find_lungs(scan: Volume) -> Volume:
    """The lungs of a chest CT: bool on the grid of `scan`.

    Raises:
      InputError: there are none: it is no chest, or not in HU.
    """
    return lungs_lib.lung_field(scan)


def get_config(name: str, fields: Mapping[str, Any] | None = None) -> "ml_collections.ConfigDict":
    """A configuration that ships with the project, locked.

    Args:
      name: 'senet', 'vnet', 'candidates' or 'pipeline', and a variant: 'senet:demo'.
      fields: replace some, by their full names: {"model.width": 16}.

    Raises:
      UsageError: there is no such configuration, variant or field.
    """
    from dtc_jax.tasks.overrides import overridden

    file, _, variant = name.partition(":")
    if file not in CONFIGS:
        raise UsageError(f"there is no configuration {file!r}; choose one of {', '.join(CONFIGS)}.")
    try:
        from configs import candidates, pipeline, senet, vnet
    except ImportError as error:
        raise InputError(
            "the configurations were not found; import dtc_jax from the root of the repository."
        ) from error
    modules = {"senet": senet, "vnet": vnet, "candidates": candidates, "pipeline": pipeline}
    try:
        config = modules[file].get_config(variant)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return overridden(config, fields or {}, "fields").lock()


def train(config: "ml_collections.ConfigDict", workdir: PathLike) -> "Evaluation":
    """Trains and evaluates a network; the same call goes on with a training that was stopped.

    Args:
      config: see `get_config`; not a pipeline's.
      workdir: folder of the run, which gets the checkpoints, figures, tables and the report.

    Returns:
      `metrics`, as in the run's metrics.json; `tables` by file name, such as predictions.csv; and a
      `summary` in words.

    Raises:
      InputError: a field or the data are wrong, or `workdir` belongs to another configuration.
      dtc_jax.errors.Stopped: a signal came; the state is saved.
    """
    from dtc_jax.runs import train as train_lib

    if "classifier" in config:
        raise UsageError("a pipeline trains two networks; run it by --mode=pipeline.")
    return train_lib.run(config, workdir)


def load_predictors(
    segmenter: PathLike | None, classifier: PathLike, candidates: PathLike | None = None
) -> Predictors:
    """The networks of trained runs or of bundles, which need no JAX, for `predict`.

    Args:
      segmenter: folder of a run or a bundle; None where the lesions are outlined already.
      classifier: folder of a run or a bundle.
      candidates: the same of a network that tells lesions from false findings; None for none.

    Raises:
      InputError: a folder is not that of a finished run or a bundle, or its task is another one.
    """
    return predictors.load(segmenter or "", classifier, candidates or "")


def predict(
    scan: Volume,
    networks: Predictors,
    *,
    lesions: npt.ArrayLike | Volume | None = None,
    lungs: npt.ArrayLike | Volume | None = None,
) -> Answer:
    """Finds the lesions of a CT and says which are RAI-refractory; nothing is written.

    Args:
      scan: of `read_scan` or `from_array`.
      networks: of `load_predictors`.
      lesions: their numbers, 0 elsewhere, [Z, Y, X] on the grid of `scan`; None to find them. One
        number is one lesion, even where its voxels are apart.
      lungs: bool, where lesions are looked for; None to find them.

    Returns:
      `table` with a row a lesion, `mask` with their numbers, `heat` maps by number. The column
      `slice` is empty: only a file numbers its slices.

    Raises:
      InputError: an array is on another grid, has fractions or negative numbers, or no lungs were
        found.
      UsageError: not one of `lesions` and a segmenter is given.
    """
    if (lesions is None) == (networks.segmenter is None):
        raise UsageError("give the lesions, or networks with a segmenter that finds them.")
    outlined = None
    if lesions is not None:
        outlined = in_memory.read_lesions("lesions", _given(lesions), scan)
    field = None
    if lungs is not None:
        given = in_memory.read_mask("lungs", _given(lungs), scan)
        if not given.array.any():
            raise InputError("lungs is empty; set at least one voxel, or omit it.")
        field = Volume(given.array != 0, scan.affine)
    else:
        try:
            field = find_lungs(scan)
        except InputError:
            if outlined is None:
                raise
    return answer_lib.of_scan(networks, scan, field, outlined, _NO_NUMBERS, answer_lib.Clock())


def _given(mask: npt.ArrayLike | Volume) -> np.ndarray | Volume:
    return mask if isinstance(mask, Volume) else np.asarray(mask)


def write_report(
    predictions: pd.DataFrame | PathLike | Sequence[pd.DataFrame | PathLike],
    out: PathLike,
    threshold: float | None = None,
) -> str:
    """Writes the study's report of one or several tables of predictions.

    Args:
      predictions: tables, or paths of CSV files, with patient_id, lesion_id, label and score; see
        `dtc_jax.statistics.predictions_table`. The others are compared with the first.
      out: folder of the report.
      threshold: of the decisions where a table has none; None: 0.5.

    Returns:
      Path of the page.

    Raises:
      InputError: a table is not as it must be; names the row and the column.
    """
    from dtc_jax.experiment import report

    many = isinstance(predictions, Sequence) and not isinstance(predictions, str)
    given = predictions if many else [predictions]
    return str(report.write(given, out, threshold))  # type: ignore[arg-type]


def audit_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Recomputes the figures that a paper prints, and says which contradict each other.

    Args:
      claims: see `dtc_jax.audit.claims`; every number is text, as printed: '.800'.

    Raises:
      InputError: a claim has a wrong or missing field.
    """
    from dtc_jax.audit import claims as claims_lib

    if not isinstance(claims, Mapping):
        raise InputError(
            f"claims: is a {type(claims).__name__}, not a dictionary; read the file first, with "
            "yaml.load(TEXT, yaml.BaseLoader), which leaves numbers as they are printed."
        )
    return claims_lib.recompute(claims)
