"""Runs TFDS: builds the record files, and reads them back for lesions.csv."""

import contextlib
import errno
import io
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from absl import logging

from datasets.records import Plan, RecordBuilder
from dtc_jax import progress, storage
from dtc_jax.crops import intensities, processes, record
from dtc_jax.errors import InputError, UsageError


def prepare(
    builder_class: type[RecordBuilder],
    plan: Plan,
    folder: pathlib.Path,
    workers: int,
    use_beam: bool,
    beam_options: str,
) -> None:
    """Writes the files of TFDS into `folder`, which is empty.

    Args:
      builder_class: of the records.
      plan: with the config of the builder.
      folder: an existing, empty folder.
      workers: number of processes; 0: one per core.
      use_beam: whether Apache Beam runs the work.
      beam_options: options of Beam, separated by commas.

    Raises:
      InputError: see the builders; or Beam is requested and not installed.
      OSError: there is no space left on the disk.
    """
    beam = _beam(beam_options, workers) if use_beam else {}
    scratch = storage.plain_path(folder) / "scratch"
    with _quiet(), _no_space_is_an_os_error():
        builder = builder_class(
            data_dir=scratch, config=plan.config, workers=workers, use_beam=use_beam
        )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False, **beam)
        )
    for path in pathlib.Path(builder.data_dir).iterdir():
        shutil.move(path, folder / path.name)
    shutil.rmtree(scratch)


def lesions(
    folder: pathlib.Path, builder_class: type[RecordBuilder], plan: Plan
) -> tuple[pd.DataFrame, list[str]]:
    """One row per record, in their order: ids and measures, read from the record files.

    Args:
      folder: of a prepared dataset.
      builder_class: of the records.
      plan: of the build.

    Returns:
      The rows, and what a user should know of the HU of the records; see `intensities.compare`.

    Raises:
      InputError: the records as a whole are not in HU.
    """
    builder = tfds.builder_from_directory(storage.plain_path(folder))
    sources = [builder.as_data_source(split=split) for split in builder.info.splits]
    stored = (stored_record for source in sources for stored_record in source)
    tracked = progress.track(stored, "reading back", total=sum(map(len, sources)))
    rows, percentiles = [], []
    for stored_record in tracked:
        rows.append(record.columns(stored_record, builder_class.MEASURES))
        if builder_class.OF_CT:
            percentiles.append(intensities.of_record(stored_record["image"]))
    read = pd.DataFrame(rows)
    manifest = getattr(plan.config, "manifest", "")
    notes = intensities.compare(manifest, read.lesion_id.tolist(), percentiles)
    if plan.table is not None:
        read = read.merge(plan.table, on="lesion_id", validate="one_to_one")
    acquired = plan.acquired() if plan.acquired else None
    if acquired is not None:
        new = [c for c in acquired if c == "lesion_id" or c not in read]
        read = read.merge(acquired[new], on="lesion_id", how="left", validate="many_to_one")
    return read, notes


def _beam(options: str, workers: int) -> dict[str, Any]:
    try:
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise InputError("Apache Beam is not installed; pip install 'dtc-jax[beam]'.") from error
    try:
        parsed = pipeline_options.PipelineOptions(
            [f"--{option}" for option in options.split(",") if option]
        )
    except SystemExit as error:  # Beam parses them like a command line, and would exit
        raise UsageError(f"--beam_pipeline_options: Beam does not accept {options!r}.") from error
    given = {option.partition("=")[0] for option in options.split(",")}
    runner = parsed.view_as(pipeline_options.StandardOptions).runner or "DirectRunner"
    if runner == "DirectRunner":
        # By itself it would look on the internet for another program to run the pipeline, or else
        # keep one core busy.
        runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
        direct = parsed.view_as(pipeline_options.DirectOptions)
        if "direct_running_mode" not in given:
            direct.direct_running_mode = "multi_processing"
        if "direct_num_workers" not in given and direct.direct_running_mode != "in_memory":
            direct.direct_num_workers = workers or processes.cores()
    return {"beam_runner": runner, "beam_options": parsed}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the output of TFDS about downloads; our own progress goes to stderr."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _no_space_is_an_os_error() -> Iterator[None]:
    """The record writer reports the error of the system only in the text of a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
