"""How time grows with what is computed, in one table and one picture of log-log panels.

    python -m benchmarks.growth --picture=growth.png [--table=growth.csv] [--repeats=5]
      [--stages=batch,width,side,volume,patients,lesions] [--tiny]

- `batch`, `width`, `side`: a training step of `senet:demo`, compiled and on a batch that is ready,
  by examples of the batch, channels of the first stage and side of the crop (here without
  pooling in the last stage, which would leave nothing of 16 voxels).
- `volume`: sliding windows of 64 voxels a side over a block, all of it, by a small SE V-Net. They
  overlap by half, so a block of twice the side has more than eight times the windows.
- `patients`: the phantom is generated, in small scans, and its crops are built, see
  `large_cohorts --stages=beam`; once for each size, in seconds of the CPU.
- `lesions`: manifest, split, statistics and report, see `large_cohorts --stages=tables`; in seconds
  of the CPU. The others are by the clock.

Each row, a median of `--repeats`, is written as soon as it is measured; a table that is there keeps
its rows of other stages. The exponent is the slope of log time by log size, between the two largest
sizes and fitted to all. `--tiny` rehearses it.
"""

import argparse
import csv
import dataclasses
import math
import pathlib
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks import large_beam, large_tables, noise_step, sliding_window, training, turns
from dtc_jax import storage
from dtc_jax.inference import sliding_window as windows_lib
from dtc_jax.networks.stitching import DeviceSums
from dtc_jax.report import drawing

_LEAST_S = 0.2  # of a sample; shorter steps are repeated in it
_MARGIN_MM = 8  # of a stored crop around what the network sees
_WINDOW, _TINY_WINDOW = 64, 16
_WIDTHS, _WINDOWS = (4, 8), 4  # of the V-Net, and in a batch
_CPU = "CPU seconds"
_HEIGHT, _WIDTH = 2.4, 2.5  # of a panel, in inches
_WITHIN = 2  # so many curves have their legend within the panel


@dataclasses.dataclass(frozen=True)
class Stage:
    """What grows.

    Attributes:
      axis: what a size is, in words.
      power: exponent of what is computed.
      sizes: from the smallest; those of `--tiny` are `tiny`.
      measure: (folder, size, repeats, whether it is a rehearsal) -> seconds by name.
      unit: of what is measured.
      repeats: how often, whatever is asked for; None for as often as that.
    """

    axis: str
    power: int
    sizes: tuple[int, ...]
    tiny: tuple[int, ...]
    measure: Callable[[pathlib.Path, int, int, bool], dict[str, float]]
    unit: str = "seconds"
    repeats: int | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table; `seconds` is a median."""

    stage: str
    what: str
    size: int
    seconds: float
    repeats: int


def _step(
    change: Callable[[ml_collections.ConfigDict, int], None],
) -> Callable[[pathlib.Path, int, int, bool], dict[str, float]]:
    """Measures a training step of the demo, changed to a size."""

    def measure(_: pathlib.Path, size: int, repeats: int, tiny: bool) -> dict[str, float]:
        config = noise_step.config_of("senet:demo").unlock()
        if tiny:
            config.train.batch_size = 2
            config.model.update(width=4, stages=1)
            _see(config, 8)
        change(config, size)
        call = training.training_step(config, config.train.batch_size)
        call()
        return {"training step": _median(call, repeats)}

    return measure


def _see(config: ml_collections.ConfigDict, side: int) -> None:
    """Has the network see so many voxels along each axis."""
    seen_mm = side * config.preprocess.spacing_mm
    config.preprocess.crop_mm = (seen_mm,) * 3
    config.data.size_mm = (math.ceil(seen_mm) + _MARGIN_MM,) * 3


def _see_unpooled(config: ml_collections.ConfigDict, side: int) -> None:
    """The same, without pooling in the last stage, which would leave nothing of 16 voxels."""
    config.model.pool_last = False
    _see(config, side)


def _volume(_: pathlib.Path, voxels: int, repeats: int, tiny: bool) -> dict[str, float]:
    """Windows over a block of noise of so many voxels."""
    side = round(voxels ** (1 / 3))
    spec = windows_lib.SlidingWindow((_TINY_WINDOW if tiny else _WINDOW,) * 3, batch=_WINDOWS)
    predict = sliding_window.untrained(spec, _WIDTHS)[1]
    block = np.random.default_rng(0).integers(-1000, 400, (side,) * 3, np.int16)
    everywhere = np.ones(block.shape, bool)

    def call() -> None:
        windows_lib.sliding_window(predict, block, spec, everywhere, DeviceSums)

    call()  # compiles
    return {"sliding windows": _median(call, repeats)}


def _patients(folder: pathlib.Path, patients: int, repeats: int, tiny: bool) -> dict[str, float]:
    """Generating and building, in this process's children."""
    found = large_beam.measured(folder / "data", patients, [large_beam.WITHOUT_BEAM])
    names = {large_beam.GENERATING: "scans generated", large_beam.WITHOUT_BEAM: "crops built"}
    return {names[name]: used.cpu_seconds for name, used in found}


def _lesions(folder: pathlib.Path, lesions: int, repeats: int, tiny: bool) -> dict[str, float]:
    """Manifest, split, statistics and report."""
    found = []
    for number in range(repeats):
        found.append(large_tables.measured(folder / str(number), lesions))
        shutil.rmtree(folder / str(number))
    names = [name for name in found[0] if name != large_tables.MEMORY]
    return {name: statistics.median(one[name] for one in found) for name in names}


def _median(call: Callable[[], None], repeats: int) -> float:
    number = math.ceil(_LEAST_S / turns.timed(call).wall)

    def several() -> None:
        for _ in range(number):
            call()

    return statistics.median(turns.timed(several).wall / number for _ in range(repeats))


_STAGES = {
    "batch": Stage(
        "examples in a batch",
        1,
        (4, 8, 16, 32),
        (2, 4),
        _step(lambda config, size: config.train.update(batch_size=size)),
    ),
    "width": Stage(
        "channels of the first stage",
        2,
        (4, 8, 16, 32),
        (4, 8),
        _step(lambda config, size: config.model.update(width=size)),
    ),
    "side": Stage("voxels a side of the crop", 3, (16, 24, 32, 48), (8, 12), _step(_see_unpooled)),
    "volume": Stage(
        "voxels of the volume",
        1,
        tuple(n**3 for n in (64, 96, 128, 160)),
        tuple(n**3 for n in (16, 24)),
        _volume,
    ),
    "patients": Stage("patients", 1, (20, 200, 2000), (4, 8), _patients, _CPU, repeats=1),
    "lesions": Stage("lesions", 1, (100, 1000, 10_000, 100_000), (100, 200), _lesions, _CPU),
}


def main() -> None:
    """Measures, prints a table for each stage, and draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", default=",".join(_STAGES))
    parser.add_argument("--table", type=pathlib.Path, default=pathlib.Path("growth.csv"))
    parser.add_argument("--picture", type=pathlib.Path, help="a PNG")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    stages = given.stages.split(",")
    if unknown := set(stages) - _STAGES.keys():
        parser.error(f"--stages: there is no {min(unknown)!r}; choose from {', '.join(_STAGES)}.")
    if given.picture and given.picture.suffix != ".png":
        parser.error("--picture must end in .png.")
    print(f"{turns.machine()}, {jax.default_backend()}; medians of {given.repeats}")
    rows = [row for row in _read(given.table) if row.stage not in stages]
    _write(given.table, rows, "w")
    for stage in stages:
        for row in _measured(stage, given.repeats, given.tiny):
            _write(given.table, [row], "a")
            rows.append(row)
        _print(stage, _curves(rows, stage))
        if given.picture:
            _draw(rows, given.picture)


def _measured(name: str, repeats: int, tiny: bool) -> Iterator[Row]:
    stage = _STAGES[name]
    repeats = stage.repeats or repeats
    for size in stage.tiny if tiny else stage.sizes:
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            found = stage.measure(pathlib.Path(folder), size, repeats, tiny)
        for what, seconds in found.items():
            print(f"{name} {size}: {what} {seconds:.4g} s", flush=True)
            yield Row(name, what, size, seconds, repeats)


def _read(path: pathlib.Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            Row(r["stage"], r["what"], int(r["size"]), float(r["seconds"]), int(r["repeats"]))
            for r in csv.DictReader(file)
        ]


def _write(path: pathlib.Path, rows: Sequence[Row], mode: str) -> None:
    with path.open(mode, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if mode == "w":
            writer.writerow(field.name for field in dataclasses.fields(Row))
        writer.writerows(dataclasses.astuple(row) for row in rows)


def _curves(rows: Sequence[Row], stage: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Sizes and seconds by name, from the smallest size. # [N] each"""
    own = sorted((row for row in rows if row.stage == stage), key=lambda row: row.size)
    return {
        what: (
            np.array([row.size for row in own if row.what == what]),
            np.array([row.seconds for row in own if row.what == what]),
        )
        for what in dict.fromkeys(row.what for row in own)
    }


def _exponents(sizes: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Between the two largest sizes, and fitted to all."""
    x, y = np.log(sizes), np.log(seconds)
    return float((y[-1] - y[-2]) / (x[-1] - x[-2])), float(np.polyfit(x, y, 1)[0])


def _print(name: str, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    sizes = next(iter(curves.values()))[0]
    print(f"\n| s, by {_STAGES[name].axis} | {' | '.join(map(str, sizes))} | exponent | of all |")
    print("|---" * (len(sizes) + 3) + "|")
    for what, (x, y) in curves.items():
        last, fitted = _exponents(x, y)
        cells = " | ".join(f"{value:.3g}" for value in y)
        print(f"| {what} | {cells} | {last:.2f} | {fitted:.2f} |", flush=True)
    print()


def _draw(rows: Sequence[Row], path: pathlib.Path) -> None:
    """A panel for each stage: what is computed, and what would grow as its operations do."""
    shown = [stage for stage in _STAGES if _curves(rows, stage)]
    cells = len(shown) + ("lesions" in shown)  # the last, whose legend takes a cell
    columns = min(cells, 4)
    lines = math.ceil(cells / columns)
    with drawing.style():
        drawn = drawing.new(height=_HEIGHT * lines, width=_WIDTH * columns)
        for place, stage in enumerate(shown, start=1):
            _panel(drawn.add_subplot(lines, columns, place), stage, _curves(rows, stage))
        with storage.atomic(path) as partial:
            drawn.savefig(partial, dpi=200, metadata={"Software": None})


def _panel(axis: Any, name: str, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    stage = _STAGES[name]
    for color, (what, (x, y)) in zip(drawing.SERIES, curves.items(), strict=False):
        label = f"{what}: {_exponents(x, y)[0]:.2f}"
        axis.loglog(x, y, "o-", color=color, markersize=3, label=label)
    x, y = next(iter(curves.values()))
    guide = y[-1] * (x / x[-1]) ** float(stage.power)
    axis.loglog(x, guide, ":", color=drawing.QUIET, label=f"$n^{stage.power}$")
    axis.minorticks_off()
    axis.set_xticks(x, [_short(n) for n in x])
    low, high = axis.get_ylim()
    ticks = [m * 10.0**e for e in range(-6, 5) for m in ((1, 2, 5) if high < 30 * low else (1,))]
    axis.set_yticks([t for t in ticks if low <= t <= high])
    axis.set_yticklabels([f"{t:g}" for t in ticks if low <= t <= high])
    axis.set_xlabel(stage.axis)
    axis.set_ylabel(stage.unit)
    few = len(curves) <= _WITHIN
    legend = axis.legend(**({} if few else {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)}))
    legend.set_in_layout(few)  # what is beside the panel takes the next cell


def _short(size: int) -> str:
    """A power of ten or a cube as such."""
    side = round(size ** (1 / 3))
    if size >= 100 and size == 10 ** round(math.log10(size)):
        return f"$10^{round(math.log10(size))}$"
    return f"{side}³" if size > 1000 and side**3 == size else str(size)


if __name__ == "__main__":
    main()
