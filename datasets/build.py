"""Builds a dataset; what is already built is not built again.

    python -m datasets.build lesion_crops --config='{"manifest": "cohort.csv"}' --data_dir=data
    python -m datasets.build lesion_crops --config='{"phantom": {"patients": 40}}' --data_dir=data
    python -m datasets.build medmnist3d --config='{"npz": "adrenalmnist3d_64.npz"}' --data_dir=data

The flags are those of `tfds build`, as far as they make sense without TensorFlow. A built dataset is
a folder DATA_DIR/NAME-FINGERPRINT with TFDS's files, `lesions.csv` (a row a record, in the order
of the records) and `fingerprint.json`; it appears whole or not at all.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from absl import logging

from datasets.lesion_crops import lesion_crops_dataset_builder as lesion_crops
from datasets.medmnist3d import medmnist3d_dataset_builder as medmnist3d
from dtc_jax import storage
from dtc_jax.cohort import manifest, phantom
from dtc_jax.crops import fingerprint, record
from dtc_jax.errors import InputError, UsageError

_HASHES = "file_hashes.json"  # in data_dir: the hashes of scans, kept between builds


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
    """Builds the dataset `name`, unless its fingerprint says that it is there already.

    Args:
      name: 'lesion_crops' or 'medmnist3d'.
      config: {'manifest': path} or {'phantom': fields of PhantomSpec}, and 'size_mm', 'fill' as in
        `record.CropParams`; or {'npz': path}.
      data_dir: folder of all datasets.
      overwrite: builds it again.
      workers: processes; 0: one for each core.
      use_beam: whether Apache Beam runs the work.
      beam_options: Beam's own options, separated by commas.

    Returns:
      The dataset's folder.

    Raises:
      UsageError: an unknown name or field.
      InputError: bad input, or a full disk.
    """
    data_dir = pathlib.Path(data_dir)
    prepare = {"lesion_crops": _lesion_crops, "medmnist3d": _medmnist3d}.get(name)
    if prepare is None:
        raise UsageError(f"no dataset {name!r}; there are lesion_crops and medmnist3d.")
    mark, make_builder, make_table = prepare(dict(config), data_dir, workers, use_beam)
    folder = data_dir / f"{name}-{mark[:12]}"
    if (folder / "fingerprint.json").exists() and not overwrite:
        return folder
    with storage.atomic_folder(folder) as partial:
        scratch = partial / "scratch"
        with _quiet():
            builder = make_builder(scratch)
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    beam_options=_beam_options(beam_options)
                )
            )
        for path in pathlib.Path(builder.data_dir).iterdir():
            shutil.move(path, partial / path.name)
        shutil.rmtree(scratch)
        storage.write_table(partial / "lesions.csv", make_table(partial))
        storage.write_json(partial / "fingerprint.json", {"fingerprint": mark, "config": config})
    return folder


_Prepared = tuple[str, Callable[[pathlib.Path], Any], Callable[[pathlib.Path], pd.DataFrame]]


def _lesion_crops(
    config: dict[str, Any], data_dir: pathlib.Path, workers: int, use_beam: bool
) -> _Prepared:
    """Fingerprint, builder of a folder, and table of the built folder."""
    is_phantom = "phantom" in config
    if is_phantom == ("manifest" in config):
        raise UsageError("config: give either 'manifest' or 'phantom'.")
    if is_phantom:
        path = phantom.generate_in(data_dir, phantom.PhantomSpec(**config.pop("phantom")))
    else:
        path = pathlib.Path(config.pop("manifest"))
    params = _params(config)
    table = manifest.read_manifest(path)
    plain = {"size_mm": list(params.size_mm), "fill": params.fill}
    mark = fingerprint.fingerprint(table, plain, data_dir / _HASHES)

    def make_builder(scratch: pathlib.Path) -> Any:
        return lesion_crops.Builder(
            data_dir=scratch,
            config=lesion_crops.LesionCropsConfig(
                name="phantom" if is_phantom else "manifest",
                manifest=str(path),
                params=params,
                workers=workers,
                use_beam=use_beam,
            ),
        )

    return mark, make_builder, _measures


def _medmnist3d(
    config: dict[str, Any], data_dir: pathlib.Path, workers: int, use_beam: bool
) -> _Prepared:
    npz = str(config.pop("npz", ""))
    if config or not npz:
        raise UsageError("config of medmnist3d: it takes 'npz', the path of the file, alone.")
    arrays = medmnist3d.read_npz(npz)
    hashes = fingerprint.file_hashes([npz], data_dir / _HASHES)
    mark = fingerprint.params_fingerprint({}, {"npz": hashes[npz]})

    def make_builder(scratch: pathlib.Path) -> Any:
        side = int(arrays["train_images"].shape[1])
        return medmnist3d.Builder(
            data_dir=scratch, config=medmnist3d.MedMnist3dConfig(name="npz", npz=npz, side=side)
        )

    return mark, make_builder, lambda folder: medmnist3d.table(arrays)


def _params(config: dict[str, Any]) -> record.CropParams:
    unknown = set(config) - {"size_mm", "fill"}
    if unknown:
        raise UsageError(f"config: no field {', '.join(sorted(unknown))}; there are size_mm, fill.")
    if "size_mm" in config:
        config["size_mm"] = tuple(int(side) for side in config["size_mm"])
    return record.CropParams(**config)


def _measures(folder: pathlib.Path) -> pd.DataFrame:
    """lesions.csv of built lesion crops, from the records themselves."""
    builder = tfds.builder_from_directory(folder)
    rows = []
    for stored in builder.as_data_source(split="lesions"):
        plain = {n: v.decode() if isinstance(v, bytes) else v for n, v in stored.items()}
        rows.append(record.columns(plain))
    return pd.DataFrame(rows)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from printing of downloads; our own progress goes to stderr."""
    tfds.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)


def _beam_options(options: str) -> Any:
    if not options:
        return None
    from apache_beam.options import pipeline_options

    return pipeline_options.PipelineOptions([f"--{option}" for option in options.split(",")])


def main(argv: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", help="lesion_crops or medmnist3d")
    parser.add_argument("--config", default="{}", help="JSON, see `build`")
    parser.add_argument("--data_dir", default="data", help="folder of all datasets")
    parser.add_argument("--overwrite", action="store_true", help="build again what is there")
    parser.add_argument("--num-processes", type=int, default=0, help="0: one for each core")
    parser.add_argument("--use_beam", action="store_true", help="run on Apache Beam")
    parser.add_argument("--beam_pipeline_options", default="", help="Beam's, comma-separated")
    flags = parser.parse_args(argv)
    try:
        try:
            config = json.loads(flags.config)
        except ValueError as error:
            raise UsageError(f"--config is not JSON: {error}") from error
        folder = build(
            flags.dataset,
            config,
            flags.data_dir,
            overwrite=flags.overwrite,
            workers=flags.num_processes,
            use_beam=flags.use_beam or bool(flags.beam_pipeline_options),
            beam_options=flags.beam_pipeline_options,
        )
    except InputError as error:
        print(f"datasets.build: {error}", file=sys.stderr)
        return error.exit_code
    print(os.fspath(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
