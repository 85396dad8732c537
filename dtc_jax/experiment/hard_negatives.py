"""Hard negatives: what a network in training finds wrongly in its training scans becomes patches.

The scans of the training patients are segmented by the network as it is after some epochs, and the
most certain findings that touch neither a lesion nor what is to be ignored are kept. A round is
done once all its scans are; a stopped one goes on with the scan at which it was stopped.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, patches
from dtc_jax.crops.extraction import Scan
from dtc_jax.crops.patches import OpenScan, PatchParams
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, lungs, volume
from dtc_jax.inference.segment import Segmenter, segment
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.tasks import patch_data, registry, sources
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training import checkpoint, hosts
from dtc_jax.training.batches import WithReplacements
from dtc_jax.training.result import FitResult
from dtc_jax.training.task import PyTree

_DONE = "round.json"  # of a round: patches by scan


def rounds(config: ml_collections.ConfigDict) -> int:
    """How many there are; runs from before the field have none."""
    return int(config.train.hard_negatives.rounds) if "hard_negatives" in config.train else 0


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses rounds that the task or the numbers do not allow.

    Raises:
      UsageError: names the field.
    """
    if not rounds(config):
        return
    fields, name = config.train.hard_negatives, "config.train.hard_negatives"
    if hosts.count() > 1:
        raise UsageError(f"{name}.rounds must be 0 where several processes train together.")
    if config.data.source == "cubes":
        raise UsageError(f"{name}.rounds must be 0 for cubes, which show no whole lungs.")
    if not registry.of(config).finds_lesions:
        raise UsageError(f"{name}.rounds must be 0 except for a segmenter.")
    for field in ("rounds", "after_epochs", "per_scan"):
        if fields[field] < 1:
            raise UsageError(f"{name}.{field} is {fields[field]}; it must be at least 1.")
    if not 0 < fields.share <= 1:
        raise UsageError(f"{name}.share is {fields.share}; it must be in (0, 1].")
    if fields.rounds * fields.after_epochs >= config.train.epochs:
        raise UsageError(
            f"{name}: {fields.rounds} rounds, one after every {fields.after_epochs} epochs, do not "
            f"end before the {config.train.epochs} epochs of the training; lower one of them."
        )


def fit(
    config: ml_collections.ConfigDict,
    training: pd.DataFrame,
    stored: Any,
    steps_per_epoch: int,
    train: Callable[..., FitResult],
    folder: pathlib.Path,
) -> FitResult:
    """Trains with rounds of hard negatives in between; goes on where `folder` stands.

    Args:
      config: see configs/vnet.py.
      training: patient_id of the training rows.
      stored: batches of the stored patches.
      steps_per_epoch: updates in an epoch.
      train: (batches, stop_at) -> the network after that step; None for the last.
      folder: of the network; gets hard_negatives/.

    Raises:
      InputError: no training patient has a whole scan, or one cannot be used.
    """
    fields = config.train.hard_negatives
    batches = WithReplacements(stored, config.seed)
    scans = _scans(config, training)
    checkpoints, found = folder / "checkpoints", list[dict[str, np.ndarray]]()
    for number in range(1, fields.rounds + 1):
        home = folder / "hard_negatives" / f"round-{number}"
        step = number * fields.after_epochs * steps_per_epoch
        if not (home / _DONE).is_file():
            result = train(batches, stop_at=step)
            steps = checkpoint.steps(checkpoints)
            if not steps or steps[-1] < step:  # it ended before
                return result
            if step not in steps:
                raise InputError(
                    f"{home}: the hard negatives of this round are missing, although later steps "
                    "were trained on them; restore the folder, or train in a new workdir."
                )
            model = checkpoint.read_model(checkpoints, step)
            _mine(config, model.params, model.batch_stats, scans, home)
        found += [record for path in sorted(home.glob("*.npz")) for record in _read(path)]
        batches.replace(found, fields.share, from_batch=step)
    return train(batches)


def _scans(config: ml_collections.ConfigDict, training: pd.DataFrame) -> list[Scan]:
    """The whole scans of the training patients; cubes are none.

    Raises:
      InputError: there is none.
    """
    path = sources.manifest_path(config)
    table = manifest.read_manifest(path, healthy=True)
    own = table[table.patient_id.isin(training.patient_id) & (table["view"] == "scan")]
    found = extraction.scans(own, whole=True)
    if not found:
        raise InputError(
            f"{path}: config.train.hard_negatives needs whole scans of training patients, and "
            "there are none; add some, or set its rounds to 0."
        )
    return found


def _mine(
    config: ml_collections.ConfigDict,
    params: PyTree,
    batch_stats: PyTree,
    scans: Sequence[Scan],
    home: pathlib.Path,
) -> None:
    """Writes the hard negatives of a round into `home`, a file a scan.

    Raises:
      InputError: a scan cannot be used.
    """
    member = Member(config, params, batch_stats, {})
    segmenter = make_segmenter(TrainedNetwork(registry.of(config), (member,)))
    spec, counts = patch_data.make_params(config), {}
    for number, scan in enumerate(progress.track(scans, "scans, for hard negatives")):
        path = home / f"scan-{number:03d}.npz"
        if not path.is_file():
            source = _opened(scan, spec)
            centers_mm = _found_wrongly(segmenter, source)[: config.train.hard_negatives.per_scan]
            found = [source.patch(center_mm, "") for center_mm in centers_mm]
            arrays: dict[str, Any] = {
                name: np.array([one[name] for one in found]) for name in patches.ARRAYS
            }
            with storage.atomic(path) as partial, open(partial, "wb") as file:
                np.savez_compressed(file, **arrays)
        counts[scan.name] = len(_read(path))
    storage.write_json(home / _DONE, {"patches": counts})
    print(f"{home.name}: {sum(counts.values())} hard negatives of {len(scans)} scans.", flush=True)


def _opened(scan: Scan, params: PatchParams) -> OpenScan:
    try:
        image = ct.read(scan.image)
        masks = [volume.read_mask(one.mask, image, one.mask_label) for one in scan.lesions]
        return patches.opened(scan, image, masks, params)
    except InputError as error:
        raise InputError(f"{scan.title}: {error}") from error


def _found_wrongly(segmenter: Segmenter, source: OpenScan) -> np.ndarray:
    """Middles of the findings that are no lesion, the most certain first, in mm. # [N, 3]"""
    scan = source.scan
    try:
        field = lungs.given_or_found(source.image, scan.lungs)
        found = segment(segmenter, source.image, field)
    except InputError as error:
        raise InputError(f"{scan.title}: {error}") from error
    right = np.unique(found.mask.array[source.known])
    table = found.lesions[~found.lesions.lesion_id.isin(right)]
    table = table.sort_values(["max_probability", "lesion_id"], ascending=[False, True])
    return table[["center_x_mm", "center_y_mm", "center_z_mm"]].to_numpy()


def _read(path: pathlib.Path) -> list[dict[str, np.ndarray]]:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in patches.ARRAYS}
    return [
        {name: values[i] for name, values in arrays.items()} for i in range(len(arrays["image"]))
    ]
