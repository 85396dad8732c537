"""Builds a dataset, unless it is already built.

    python -m datasets.build lesion_crops --config='{"manifest": "cohort.csv"}' --data_dir=data
    python -m datasets.build lesion_crops --config='{"phantom": {"patients": 40}}' --data_dir=data
    python -m datasets.build ct_patches --config='{"manifest": "cohort.csv"}' --data_dir=data
    python -m datasets.build medmnist3d --config='{"npz": "adrenalmnist3d_64.npz"}' --data_dir=data

The flags are those of `tfds build`, as far as they make sense without TensorFlow. A built dataset
is a folder DATA_DIR/NAME-FINGERPRINT with TFDS's files, `lesions.csv` (one row per record, in the
order of the records) and `fingerprint.json`; it is written completely or not at all. The
fingerprint covers the contents of images and masks, the ids and the parameters: if one of them
changes, a new folder is built next to the first.
"""

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from dtc_jax import locks, progress, storage
from dtc_jax.crops import processes
from dtc_jax.errors import InputError, UsageError, unknown_choice

# Imported by name: worker processes import this file, and do not need TFDS.
NAMES = ("lesion_crops", "ct_patches", "medmnist3d")


def build(
    name: str,
    config: dict[str, Any],
    data_dir: storage.PathLike,
    *,
    overwrite: bool = False,
    workers: int = 0,
    use_beam: bool = False,
    beam_options: str = "",
) -> pathlib.Path:
    """Builds the dataset `name`, unless a dataset with its fingerprint exists.

    Args:
      name: 'lesion_crops', 'ct_patches' or 'medmnist3d'.
      config: {'manifest': path} or {'phantom': fields of PhantomSpec}, and fields of
        `record.CropParams` or, for ct_patches, of `patches.PatchParams`; or {'npz': path}.
      data_dir: folder of all datasets.
      overwrite: whether to build it again.
      workers: number of processes; 0: one per core.
      use_beam: whether Apache Beam runs the work.
      beam_options: options of Beam, separated by commas. Its local runner, which is the default,
        gets so many `workers` unless they say otherwise.

    Returns:
      The dataset's folder.

    Raises:
      UsageError: an unknown name or field.
      InputError: invalid input, or a full disk.
      SystemExit: this is a worker process that runs the script of its parent once more.
    """
    if name not in NAMES:
        raise unknown_choice("the dataset", name, NAMES)
    from datasets import prepare

    processes.refuse_unguarded_script()
    module = importlib.import_module(f"{__package__}.{name}.{name}_dataset_builder")
    data_dir = pathlib.Path(data_dir)
    with storage.no_space_is_an_input_error(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
    with _alone(data_dir):
        plan = module.plan(config, data_dir, data_dir / "file_hashes.json")
        folder = data_dir / f"{name}-{plan.fingerprint[:12]}"
        if (folder / "fingerprint.json").exists() and not overwrite:
            return folder
        for stale in data_dir.glob(f".partial-*/{folder.name}"):  # of a build that was killed
            shutil.rmtree(stale.parent, ignore_errors=True)
        with storage.atomic_folder(folder) as partial:
            prepare.prepare(module.Builder, plan, partial, workers, use_beam, beam_options)
            table, notes = prepare.lesions(partial, module.Builder, plan)
            storage.write_table(partial / "lesions.csv", table)
            fields = {
                k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in config.items()
            }
            contents = {"fingerprint": plan.fingerprint, "config": fields, "notes": notes}
            storage.write_json(partial / "fingerprint.json", contents)
    return folder


@contextlib.contextmanager
def _alone(data_dir: pathlib.Path) -> Iterator[None]:
    """Allows one build at a time in `data_dir`: the second one reuses the result of the first."""
    try:
        handle = os.open(data_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # nothing is written into a read-only folder
        yield
        return
    try:
        locks.wait_for(handle, f"another build in {data_dir}")
        yield
    finally:
        os.close(handle)


def main(argv: list[str]) -> int:
    """The command line; returns the exit code."""
    progress.accept_any_terminal()
    flags = _parser().parse_args(argv)
    try:
        folder = build(
            flags.dataset,
            _config(flags.config),
            flags.data_dir,
            overwrite=flags.overwrite,
            workers=flags.num_processes,
            use_beam=flags.use_beam or bool(flags.beam_pipeline_options),
            beam_options=flags.beam_pipeline_options,
        )
    except InputError as error:
        print(f"datasets.build: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("datasets.build: interrupted; no incomplete dataset is left.", file=sys.stderr)
        return 130
    print(os.fspath(folder))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("dataset", help=" or ".join(NAMES))
    add("--config", "-c", default="{}", help="fields of the builder config as JSON, or 'phantom'")
    add("--data_dir", "--data-dir", default="data", help="folder of all datasets")
    add("--overwrite", action="store_true", help="build again even if the dataset exists")
    add(
        "--file_format",
        "--file-format",
        choices=["array_record"],
        help="array_record: the only format with random access and without TensorFlow",
    )
    add("--num-processes", "--num_processes", type=int, default=0, help="0: one per core")
    add(
        "--use_beam",
        "--use-beam",
        action="store_true",
        help="run on Apache Beam; on this machine with a process on each core",
    )
    add(
        "--beam_pipeline_options",
        "--beam-pipeline-options",
        default="",
        help="options of Beam, separated by commas, such as runner=DataflowRunner; "
        "implies --use_beam",
    )
    return parser


def _config(text: str) -> dict[str, Any]:
    if text == "phantom":
        return {"phantom": {}}
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--config is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f'--config is {text}; give an object, such as {{"manifest": PATH}}.')
    return config


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
