"""The rows of the log in MLflow or Weights & Biases, where config.train.tracker asks for one."""

import contextlib
import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dtc_jax import storage
from dtc_jax.errors import InputError, unknown_choice

Track = Callable[[int, Mapping[str, float]], Any]  # step, metrics
TRACKERS = ("mlflow", "wandb")
_FILE = "tracker.json"  # the tracker's id of the run, so that a resumed run stays one run there


def check(name: str) -> None:
    """Refuses a tracker that is unknown, or whose library is not installed.

    Raises:
      InputError: names the choices, or the extra to install.
    """
    if name and name not in TRACKERS:
        raise unknown_choice("config.train.tracker", name, ("''", *TRACKERS))
    if name and importlib.util.find_spec(name) is None:
        raise InputError(
            f"config.train.tracker is {name!r}, which is not installed; install the extra: "
            f"pip install 'dtc-jax[{name}]'."
        )


@contextlib.contextmanager
def opened(name: str, workdir: storage.PathLike, fields: Mapping[str, Any]) -> Iterator[Track]:
    """Yields what takes each row; `fields` are those of the configuration to be shown."""
    if not name:
        yield lambda step, metrics: None
        return
    path = pathlib.Path(workdir).resolve() / _FILE
    former = storage.read_json(path) if path.exists() else {}
    run_id = former.get("id") if former.get("tracker") == name else None
    library, title = importlib.import_module(name), path.parent.name
    if name == "mlflow":
        run = library.start_run(run_id=run_id, run_name=title)
        new_id, track = run.info.run_id, library.log_metrics
        if run_id is None:
            library.log_params(dict(fields))
    else:
        kept = {"id": run_id, "resume": "allow", "dir": str(path.parent)}
        run = library.init(project="dtc-jax", name=title, config=dict(fields), **kept)
        new_id, track = run.id, run.log
    storage.write_json(path, {"tracker": name, "id": new_id})
    with run:
        yield lambda step, metrics: track(dict(metrics), step=step)
