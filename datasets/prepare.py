"""Runs TFDS: builds the record files, and reads back what lesions.csv holds of them."""

import contextlib
import errno
import io
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from absl import logging

from datasets.records import Plan, RecordBuilder
from dtc_jax import progress
from dtc_jax.crops import record
from dtc_jax.errors import InputError, UsageError


def prepare(
    builder_class: type[RecordBuilder],
    plan: Plan,
    folder: pathlib.Path,
    workers: int,
    use_beam: bool,
    beam_options: str,
) -> None:
    """Writes TFDS's files into `folder`, which is empty.

    Args:
      builder_class: makes the records.
      plan: what it is configured with.
      folder: exists.
      workers: processes; 0: one for each core.
      use_beam: whether Apache Beam runs the work.
      beam_options: Beam's own options, separated by commas.

    Raises:
      InputError: see the builders; or Beam is asked for and not installed.
      OSError: there is no space left.
    """
    beam = _beam(beam_options) if use_beam else {}
    scratch = folder / "scratch"
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
    folder: pathlib.Path, measures: Mapping[str, str], table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a record, in their order: ids and measures, read from the record files themselves.

    Args:
      folder: of a prepared dataset.
      measures: of its builder.
      table: further columns, by lesion_id.
    """
    builder = tfds.builder_from_directory(folder)
    sources = [builder.as_data_source(split=split) for split in builder.info.splits]
    records = (one for source in sources for one in source)
    total = sum(map(len, sources))
    rows = [record.columns(one, measures) for one in progress.track(records, "reading back", total)]
    read = pd.DataFrame(rows)
    return read if table is None else read.merge(table, on="lesion_id", validate="one_to_one")


def _beam(options: str) -> dict[str, Any]:
    try:
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise InputError(
            "Apache Beam is not installed; install the extra: pip install 'dtc-jax[beam]'."
        ) from error
    try:
        parsed = pipeline_options.PipelineOptions(
            [f"--{option}" for option in options.split(",") if option]
        )
    except SystemExit as error:  # Beam parses them as a command line, and would end the program
        raise UsageError(f"--beam_pipeline_options: Beam does not take {options!r}.") from error
    runner = parsed.view_as(pipeline_options.StandardOptions).runner or "DirectRunner"
    return {"beam_runner": runner, "beam_options": parsed}


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


@contextlib.contextmanager
def _no_space_is_an_os_error() -> Iterator[None]:
    """The record writer names the system's error in the text of a RuntimeError alone."""
    try:
        yield
    except RuntimeError as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
