"""`--mode=export`: a trained run as a bundle of serving formats."""

import dataclasses
import pathlib
from collections.abc import Sequence

from dtc_jax import storage
from dtc_jax.errors import UsageError
from dtc_jax.experiment import environment
from dtc_jax.experiment import network as network_lib
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.export import bundle
from dtc_jax.statistics.formatting import count
from dtc_jax.tasks import registry
from dtc_jax.tasks.trained import TrainedNetwork


def run(
    workdir: storage.PathLike,
    out: storage.PathLike,
    formats: Sequence[str] = (),
    member: int | None = None,
    dtype: str = "float32",
) -> None:
    """Writes the network of `workdir` into the bundle `out`; see `export.bundle`.

    Args:
      workdir: of a trained and evaluated run.
      out: new folder.
      formats: of `export.formats.FORMATS`; none for all that are installed.
      member: number of a fold, whose network alone is exported; None for the mean of all.
      dtype: that the network is computed in, of `export.formats.TOLERANCES`.

    Raises:
      InputError: `workdir` has no trained network, or was trained further since it was evaluated,
        `out` cannot be used, a library is missing, or a format does not give the numbers of the
        run.
      UsageError: there is no such format or fold, or a field cannot be exported.
    """
    environment.prepare()
    folder = pathlib.Path(workdir)
    bundle.write(out, lambda: _load(folder, member), folder, formats, dtype)


def _load(folder: pathlib.Path, member: int | None) -> tuple[TrainedNetwork, str]:
    """The network with its threshold, and where that is from."""
    config = workdir_lib.read_config(folder)
    if registry.of(config).finds_lesions:
        network, origin = network_lib.load(folder), "config.predict.threshold"
        network_lib.check_figures(network, folder)  # the card shows them
    else:
        network = network_lib.load_with_threshold(folder, config.task)
        origin = _origin(folder, str(config.threshold))
    if member is None:
        several = len(network.members) > 1 and network.threshold is not None
        return network, f"mean of the folds on the logit scale; {origin}" if several else origin
    if not 0 <= member < len(network.members):
        raise UsageError(
            f"--member={member}: the run has {count(len(network.members), 'network')}, numbered "
            "from 0."
        )
    one = network.member(member)
    if network.threshold is not None:
        one = dataclasses.replace(one, threshold=float(network_lib.thresholds(folder)[member]))
    return one, origin


def _origin(folder: pathlib.Path, rule: str) -> str:
    """How the run's thresholds were chosen, as its figures say; the rule where it has none."""
    path = folder / "metrics.json"
    figures = storage.read_json(path)["network"].values() if path.is_file() else ()
    sources = {part["threshold"]["source"] for by_split in figures for part in by_split.values()}
    return "; ".join(sorted(sources)) or rule
