"""Acquisitions that alternate in one series are found by whatever tells them apart."""

import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume
from dtc_jax.imaging.dicom import acquisitions

N = 12


def _marks(**values):
    """Of `N` slices; each value is a function of the number of the slice."""
    return [{key: str(value(z)) for key, value in values.items()} for z in range(N)]


ALTERNATING = {
    "acquisition number": _marks(AcquisitionNumber=lambda z: z % 2),
    "three acquisitions": _marks(AcquisitionNumber=lambda z: z % 3),
    "acquisition time": _marks(AcquisitionTime=lambda z: 101500.5 + 20 * (z % 2)),
    "times of slices": _marks(AcquisitionTime=lambda z: 101500.5 + 20 * (z % 2) + 0.1 * z),
    "content time": _marks(ContentTime=lambda z: 101500 + 20 * (z % 2) + z),
    "counted on": _marks(InstanceNumber=lambda z: 1 + z // 2 + 6 * (z % 2)),
    "counted backward": _marks(InstanceNumber=lambda z: 12 - z // 2 - 6 * (z % 2)),
    "counted twice": _marks(InstanceNumber=lambda z: 1 + z // 2),
    "kernel": _marks(ConvolutionKernel=lambda z: ("B30f", "B70f")[z % 2]),
    "tube voltage": _marks(KVP=lambda z: (80, 140)[z % 2]),
    "phase": _marks(TemporalPositionIdentifier=lambda z: 1 + z % 2),
}
ONE = {
    "nothing is known": _marks(),
    "all the same": _marks(AcquisitionNumber=lambda z: 1, AcquisitionTime=lambda z: 101500),
    "one after the other": _marks(AcquisitionNumber=lambda z: 1 + z // 6),
    "first above second": _marks(AcquisitionNumber=lambda z: 2 - z // 6),
    "each slice its own": _marks(AcquisitionNumber=lambda z: z, AcquisitionTime=lambda z: 9 - z),
    "two slices a turn": _marks(
        AcquisitionNumber=lambda z: z // 2, AcquisitionTime=lambda z: z // 2
    ),
    "counted": _marks(InstanceNumber=lambda z: z),
    "counted from the feet": _marks(InstanceNumber=lambda z: N - z),
    "counted anew in the abdomen": _marks(InstanceNumber=lambda z: z % 6),
    "all number 1": _marks(InstanceNumber=lambda z: 1),
    "shuffled": [{"InstanceNumber": str(i)} for i in (3, 7, 1, 12, 5, 2, 9, 10, 4, 11, 6, 8)],
    "made by two engines": _marks(ContentTime=lambda z: 101500 + z // 2 + 3 * (z % 2)),
    "seconds of four engines": _marks(ContentTime=lambda z: (1, 2, 1, 2)[z % 4] + z // 6),
    "one slice lacks it": _marks(InstanceNumber=lambda z: z if z != 4 else ""),
}


@pytest.mark.parametrize("case", ALTERNATING)
def test_alternating_slices_are_found(case):
    _, counts = acquisitions.alternating(ALTERNATING[case])
    assert counts == ([4, 4, 4] if case == "three acquisitions" else [6, 6])


@pytest.mark.parametrize("case", ONE)
def test_one_acquisition_is_one(case):
    assert acquisitions.alternating(ONE[case]) is None


def test_a_short_scan_is_one_however_it_counts():
    assert acquisitions.alternating(ALTERNATING["counted on"][:5]) is None


def _half_a_slice_apart(ct, make):
    first, second = make(ct), make(ct)
    for z, one in enumerate(second):
        one.SeriesInstanceUID = first[0].SeriesInstanceUID
        position = np.add(np.array(first[z].ImagePositionPatient, float), [0, 0, 1.25])
        one.ImagePositionPatient = [f"{value:.6f}" for value in position]
        one.InstanceNumber = len(first) + z + 1
    return first, second


@pytest.mark.parametrize("numbered", [True, False])
def test_a_series_of_two_is_refused_with_what_was_found(tmp_path, ct, make, save, numbered):
    first, second = _half_a_slice_apart(ct, make)
    for number, slices in enumerate((first, second), start=1):
        for one in slices if numbered else []:
            one.AcquisitionNumber = number
    by = "acquisition number" if numbered else "instance number"
    message = (
        rf"slices of 2 acquisitions alternate in one series, 8 \+ 8 slices, one every 1\.25 mm "
        rf"\(they differ in their {by}\)\. Export one"
    )
    with pytest.raises(InputError, match=message):
        volume.read_image(save(first + second, tmp_path))


def test_thin_overlapping_slices_of_one_are_read(tmp_path, ct, make, save):
    first, second = _half_a_slice_apart(ct, make)
    ordered = [one for pair in zip(first, second, strict=True) for one in pair]
    for number, one in enumerate(ordered):
        one.InstanceNumber = number
    found = dicom.find(save(ordered, tmp_path))
    assert "16 axial CT slices every 1.25 mm" in found.statement


def test_the_frames_of_an_enhanced_ct_are_told_apart_too(tmp_path, ct, make, enhance):
    first, second = _half_a_slice_apart(ct, make)
    one = enhance(first + second)
    for z, groups in enumerate(one.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence = [type(one)()]
        groups.FrameContentSequence[0].FrameAcquisitionNumber = 1 + z // 8
    one.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"slices of 2 acquisitions alternate"):
        volume.read_image(tmp_path)
