"""Runs `dtc_jax.crops` over all scans of a manifest: on all cores, or with Apache Beam."""

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

from dtc_jax import progress
from dtc_jax.cohort import manifest
from dtc_jax.crops import record
from dtc_jax.errors import InputError

Example = tuple[int, dict[str, Any]]  # number of the lesion among the manifest's, record
Group = tuple[str, list[int], list[record.Lesion]]  # a scan, its lesions and their numbers


def with_processes(path: str, params: record.CropParams, workers: int) -> Iterator[Example]:
    """Yields the examples of a manifest in order.

    Args:
      path: of the manifest.
      params: how lesions are cut out.
      workers: processes; 0: one for each core.

    Raises:
      InputError: bad scans or masks, all of them named.
    """
    groups = scans(path)
    workers = min(workers or os.cpu_count() or 1, len(groups))
    # Fresh processes: forking one in which JAX's threads run can hang.
    context = multiprocessing.get_context("spawn")
    bad: list[InputError] = []
    waiting: dict[int, dict[str, Any]] = {}  # examples that came before their turn
    following = 0
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        run = functools.partial(_run, params=params)
        results = pool.map(run, groups, chunksize=max(1, min(8, len(groups) // (4 * workers))))
        for result in progress.track(results, "cutting lesions, by scan", len(groups)):
            for number, example in result:
                if isinstance(example, InputError):
                    bad.append(example)
                else:
                    waiting[number] = example
            while following in waiting and not bad:
                yield following, waiting.pop(following)
                following += 1
    if bad:
        raise InputError("\n".join(["scans that cannot be used:", *map(str, bad)]))


def with_beam(path: str, params: record.CropParams) -> Any:
    """A Beam transform that makes the same examples.

    Raises:
      InputError: Apache Beam is not installed.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise InputError(
            "Apache Beam is not installed; install the extra: pip install 'dtc-jax[beam]'."
        ) from error
    return beam.Create(scans(path)) | beam.FlatMap(functools.partial(_run_strictly, params=params))


def scans(path: str) -> list[Group]:
    """The scans of a manifest in order of their first lesion."""
    table = manifest.read_manifest(path)
    groups: dict[str, Group] = {}
    for number, row in enumerate(table.itertuples(index=False)):
        _, numbers, lesions = groups.setdefault(row.image, (row.image, [], []))
        numbers.append(number)
        lesions.append(record.Lesion.from_row(row))
    return list(groups.values())


def _run(group: Group, params: record.CropParams) -> list[tuple[int, dict[str, Any] | InputError]]:
    image, numbers, lesions = group
    return list(zip(numbers, record.examples(image, lesions, params), strict=True))


def _run_strictly(group: Group, params: record.CropParams) -> list[Example]:
    examples = []
    for number, example in _run(group, params):
        if isinstance(example, InputError):
            raise example
        examples.append((number, example))
    return examples
