"""One acquisition that was cut into several series: its largest part is read, and it is said."""

import numpy as np
import pytest
from pydicom import uid

from dtc_jax.imaging import dicom

CUT = "The acquisition seems to be cut: without a gap, series 1 goes on in "


def _parts(slices, *ends, **tags):
    """Gives the slices from each of `ends` on a series of their own, with further tags."""
    for number, start in enumerate(ends, start=2):
        series = uid.generate_uid()
        for one in slices[start:]:
            one.SeriesInstanceUID, one.SeriesNumber = series, number
            for keyword, value in tags.items():
                setattr(one, keyword, value)
    return slices


@pytest.fixture
def found(placed, make, save, tmp_path):
    """A function: what is found of the slices as a function has changed them."""
    return lambda change, which=None: dicom.find(save(change(make(placed)), tmp_path), which)


@pytest.mark.parametrize("upside_down", [False, True])
def test_it_is_said_on_both_sides(found, upside_down):
    order = -1 if upside_down else 1
    series = found(lambda slices: _parts(slices[::order], 5))
    assert len(series.slices) == 5
    assert series.cut == (
        f"{CUT}series 2 (3 axial CT slices), which was not read. Export them as one series."
    )
    assert series.statement.endswith(f"Ignored: series 2 (3 axial CT slices). {series.cut}")


def test_all_parts_are_named(found):
    series = found(lambda slices: _parts(slices, 4, 6, 7))
    names = [f"series {number} ({n} axial CT slices)" for number, n in ((2, 2), (3, 1), (4, 1))]
    assert series.cut.startswith(f"{CUT}{' and '.join(names)}, which")


def test_a_part_on_request_says_so_too(found):
    assert "series 2 goes on in series 1" in found(lambda slices: _parts(slices, 5), 2).cut


def _moved(slices, by_mm):
    for one in slices:
        across = np.cross(*np.array(one.ImageOrientationPatient, float).reshape(2, 3))
        at = np.array(one.ImagePositionPatient, float)
        one.ImagePositionPatient = [f"{value:.9g}" for value in at + across * by_mm]


def _gap(slices):
    _parts(slices, 5)
    _moved(slices[5:], 4.0)
    return slices


def _overlap(slices):
    _parts(slices, 5)
    _moved(slices[5:], -6.0)
    return slices


OTHERS = {
    "one series": lambda slices: slices,
    "a gap": _gap,
    "an overlap": _overlap,
    "another frame of reference": lambda s: _parts(s, 5, FrameOfReferenceUID=uid.generate_uid()),
    "another study": lambda s: _parts(s, 5, StudyInstanceUID=uid.generate_uid()),
    "another kernel": lambda s: _parts(s, 5, ConvolutionKernel="B70f"),
    "other pixels": lambda s: _parts(s, 5, PixelSpacing=["0.5", "0.5"]),
    "a derived series": lambda s: _parts(s, 5, ImageType=["DERIVED", "SECONDARY"]),
    "no place": lambda s: _parts(s, 5, ImagePositionPatient=None),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_another_scan_is_not_named(found, other):
    series = found(OTHERS[other])
    assert series.cut == ""
    assert "cut" not in series.statement
