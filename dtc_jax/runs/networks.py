"""The networks of a trained run, from its folder alone: it may be carried to another machine."""

import hashlib
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.runs import fold
from dtc_jax.runs import workdir as workdir_lib
from dtc_jax.runs.fold import Network

_WORDS = {  # what a run of a task trained, and the flag that wants such a run
    "segmentation": ("a segmenter", "--segmenter"),
    "classification": ("a classifier", "--classifier"),
}
_LEAST = 1e-6  # and the largest is one less this: where the logit of a threshold is cut off


def load(workdir: storage.PathLike, task: str) -> list[Network]:
    """The networks of a run, one a fold, each the best candidate of its fold.

    Args:
      workdir: of the run; its data are not needed.
      task: 'segmentation' or 'classification'.

    Raises:
      InputError: `workdir` is not the folder of a run, its run is of the other task, it is not
        trained yet, or its checkpoints do not fit its configuration.
    """
    config = workdir_lib.read_config(workdir)
    if config.task != task:
        wanted, flag = _WORDS[task]
        there, other = _WORDS.get(config.task, (f"something else ({config.task})", "another flag"))
        raise InputError(
            f"{workdir}: holds the run of {there}, and {wanted} is needed; give it as {other}, "
            f"and as {flag} the folder of {wanted}."
        )
    try:
        homes = _homes(config.split.folds, pathlib.Path(workdir))
        return [fold.choose(config, home, fold.read) for home in homes]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{workdir}: its config.json does not fit this version of dtc-jax ({text}); use the "
            "version that trained it, or train again."
        ) from error


def threshold(workdir: storage.PathLike) -> float:
    """From which probability on a lesion is refractory, as the run chose it on validation.

    The folds of a k-fold run have one each. Their networks decide together by the mean of their
    logits, so the threshold is the mean of theirs on the same scale. It was not chosen for the mean
    of the networks, which no lesion of the run can be used to judge: each was trained on by some.

    Args:
      workdir: of a classifier's run.

    Raises:
      InputError: the run was not judged yet.
    """
    path = pathlib.Path(workdir) / workdir_lib.PREDICTIONS
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, so the run has no threshold yet; let its training end, or run "
            f"--mode=evaluate --workdir={workdir}."
        )
    try:
        chosen = pd.read_csv(path, usecols=["fold", "threshold"]).dropna()
        values = chosen.groupby("fold").threshold.first().to_numpy(float)  # [folds]
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read; run --mode=evaluate again.") from error
    if not len(values):
        raise InputError(f"{path}: has no threshold; run --mode=evaluate again.")
    if len(values) == 1:
        return float(values[0])
    inside = np.clip(values, _LEAST, 1 - _LEAST)
    return float(1 / (1 + np.exp(-np.log(inside / (1 - inside)).mean())))


def fingerprints(networks: Sequence[Network]) -> dict[str, str]:
    """SHA-256 of what the networks were made with ('config') and of their numbers ('weights').

    What may change when a run is resumed, such as where its data lie, does not count; what is done
    with whole scans does.
    """
    configs = [workdir_lib.essence(one.config) for one in networks]
    weights = hashlib.sha256()
    for one in networks:
        arrays = (one.result.params, one.result.batch_stats)
        for place, leaf in jax.tree_util.tree_leaves_with_path(arrays):
            weights.update(jax.tree_util.keystr(place).encode())
            weights.update(np.ascontiguousarray(leaf).tobytes())
    text = json.dumps(configs, sort_keys=True)
    return {
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "weights": weights.hexdigest(),
    }


def _homes(folds: int, workdir: pathlib.Path) -> list[pathlib.Path]:
    return [fold.home(workdir, number) for number in range(folds)] if folds > 0 else [workdir]
