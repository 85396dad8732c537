"""The review page before a browser sees it: its voxels and its words."""

import base64
import dataclasses
import itertools
import json
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review import About, Finding, overview, voxels, write_page
from dtc_jax.report.review.finding import facts

ABOUT = About("P-07", 0.42, [("Segmenter", "vnet")])
SHAPE = (9, 12, 10)  # no two axes alike
HALF = tuple(-(-n // 2) for n in SHAPE)


def finding(lesion_id=1, affine=None, heat=True, shape=SHAPE, **measures) -> Finding:
    affine = np.eye(4)[[2, 1, 0, 3]] if affine is None else affine  # (z, y, x) to RAS
    rng = np.random.default_rng(lesion_id)
    image = rng.normal(-400, 500, shape).astype(np.int16)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 3, n // 3 + 3) for n in shape)] = True
    warm = Volume(rng.random(shape, np.float32) * lesion_id, affine) if heat else None
    measures = {"diameter_mm": 7.25, "refractory_probability": 0.61, "decision": 1} | measures
    return Finding(lesion_id, Volume(image, affine), Volume(mask, affine), warm, measures)


def unpacked(facts: dict, block: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """HU, mask and heat as the page reads them."""
    stream = np.frombuffer(zlib.decompress(base64.b64decode(block)), np.uint8)
    shape, size = facts["shape"], int(np.prod(facts["shape"]))
    end = size + -(-size // 8)
    hu = voxels.LEVELS[summed(stream[:size], shape)]
    mask = np.unpackbits(stream[size:end], count=size).astype(bool).reshape(shape)
    if facts["heat"] is None:
        return hu, mask, None
    half = [-(-n // 2) for n in shape]
    return hu, mask, summed(stream[end:], half) * (facts["heat"] / 255)


def summed(codes: np.ndarray, shape: list[int]) -> np.ndarray:
    """Values of differences along rows and across them. # [N] -> shape"""
    rows = np.cumsum(codes.reshape(-1, shape[-1]), axis=1, dtype=np.uint8)
    return np.cumsum(rows, axis=0, dtype=np.uint8).reshape(shape)


def test_voxels_come_back_as_they_went():
    given = finding()
    hu, mask, heat = unpacked(*voxels.pack(given))
    image, drawn, warm = (
        voxels.oriented(part).array for part in (given.image, given.mask, given.heat)
    )
    inside = image.clip(-1024, 240)
    limit = np.where(inside < -160, 3, 2)
    assert (np.abs(hu.clip(None, 240) - inside) <= limit).all()
    np.testing.assert_array_equal(mask, drawn)
    blocks = np.pad(warm, [(0, n % 2) for n in warm.shape], mode="edge")
    means = blocks.reshape([s for n in heat.shape for s in (n, 2)]).mean((1, 3, 5))
    np.testing.assert_allclose(heat, means, atol=heat.max() / 500)


def test_a_code_is_fine_enough_for_both_windows_and_exact_on_its_levels():
    assert len(voxels.LEVELS) == 256
    step = np.diff(voxels.LEVELS)
    soft = (voxels.LEVELS[:-1] >= -160) & (voxels.LEVELS[:-1] < 236)
    assert step[soft].max() == 4
    assert step[voxels.LEVELS[:-1] < 150].max() <= 1500 / 250
    facts, block = voxels.pack(finding())
    assert unpacked(facts, block)[0].shape == tuple(facts["shape"])
    levels = Volume(voxels.LEVELS.reshape(16, 4, 4), np.eye(4)[[2, 1, 0, 3]])
    one = Finding(1, levels, Volume(levels.array > 0, levels.affine), None, {})
    hu, _, heat = unpacked(*voxels.pack(one))
    np.testing.assert_array_equal(hu, voxels.oriented(levels).array)
    assert heat is None


AXES = [
    pytest.param(order, signs, id="".join(map(str, order)) + "".join("+-"[s < 0] for s in signs))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize(("order", "signs"), AXES)
def test_a_marked_voxel_lies_where_the_views_say(order, signs):
    """However the axes of the volume run, arrays on the page run to I, P and L."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)] * np.multiply(signs, (1.0, 2.0, 3.0))
    affine[:3, 3] = (-30, 50, 7)
    array = np.full(SHAPE, -800, np.int16)
    marked = (1, 3, 8)
    array[marked] = 200
    volume = Volume(array, affine)
    mask = Volume(array > 0, affine)
    facts, block = voxels.pack(Finding(1, volume, mask, None, {}))
    hu, seen, _ = unpacked(facts, block)
    (found,) = np.argwhere(hu == 200)
    np.testing.assert_array_equal(np.argwhere(seen)[0], found)
    assert facts["start"] == found.tolist()
    # From the world alone: how far the mark lies from the most superior, anterior, right voxel.
    corners = volume.world(list(itertools.product(*[(0, n - 1) for n in SHAPE])))
    x, y, z = np.abs(volume.world(marked) - corners.max(0))
    np.testing.assert_allclose(found * facts["spacing"], (z, y, x), atol=1e-4)


def test_arrays_that_do_not_match_are_refused():
    given = finding()
    with pytest.raises(ValueError, match=r"lesion 1: the mask has \(2, 2, 2\) voxels"):
        Finding(1, given.image, Volume(np.ones((2, 2, 2), bool), np.eye(4)), None, {})


def content(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="content">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_all_and_asks_for_nothing(tmp_path):
    rows = {"volume_mm3": 180.4, "mean_hu": -31.6}
    rows |= {"center_x_mm": -20.0, "center_y_mm": 3.4, "center_z_mm": 9}
    given = (finding(i, heat=i == 2, **rows) for i in (1, 2, 3))  # taken once, one at a time
    write_page(tmp_path / "review.html", given, ABOUT)
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    held = content(tmp_path / "review.html")
    assert [lesion["id"] for lesion in held["lesions"]] == [1, 2, 3]
    assert [lesion["heat"] is None for lesion in held["lesions"]] == [True, False, True]
    first = held["lesions"][0]
    assert (first["decision"], first["threshold"], first["probability"]) == (
        "refractory",
        0.42,
        0.61,
    )
    assert ["Mean density", "−32 HU"] in first["facts"]
    assert ["Centre (x, y, z)", "−20, 3, 9 mm"] in first["facts"]
    for lesion in held["lesions"]:
        block = re.search(f'id="voxels-{lesion["id"]}">(.*?)<', text)[1]
        assert unpacked(lesion, block)[0].shape == tuple(lesion["shape"])
    assert "For research use only" in text
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)=|https?://|@import|url\(""", text)


def test_the_measures_are_in_a_radiologists_words():
    row = {"diameter_mm": 12.34, "long_axis_mm": 12.34, "short_axis_mm": 8.05, "side": "right"}
    row |= {"slice": 87, "lesion_probability": 0.316, "is_lesion": False, "mean_hu": None}
    assert facts(row, "InstanceNumber") == [
        ("Long × short axis", "12.3 × 8.1 mm"),
        ("Side", "right"),
        ("Slice", "87 (InstanceNumber)"),
        ("Probability of a lesion", "0.32, below threshold"),
        ("Mean density", "n/a"),
    ]
    certain = {"lesion_probability": 0.99127, "is_lesion": False}
    assert facts(certain) == [("Probability of a lesion", "0.991, below threshold")]
    certain = {"lesion_probability": 0.99996, "is_lesion": True, "max_probability": 0.99996}
    assert facts(certain) == [("Probability of a lesion", "0.99996")]
    assert facts({"lesion_probability": 1.0, "is_lesion": True})[0][1] == "1.00"
    unknown = {"diameter_mm": 12.34, "side": "", "slice": None, "is_lesion": None}
    assert facts(unknown) == [("Axial diameter", "12.3 mm")]


def test_the_overview_is_the_brightest_of_the_lungs_with_right_on_the_left(tmp_path):
    affine = np.diag([4.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]  # (z, y, x) to RAS
    hu = np.full((20, 30, 40), 300, np.int16)  # bright, but not lung
    inside = np.zeros(hu.shape, bool)
    inside[3:17, 5:25, 5:35] = True
    hu[inside] = -950
    hu[11:14, 7:10, 29:32] = 150  # superior, posterior, right
    chest = overview.make(Volume(hu, affine), Volume(inside, affine))
    marks = chest.marks([60.0, 16.0, 48.0])
    for picture in chest.pictures:
        (tmp_path / "a.png").write_bytes(base64.b64decode(picture["png"]))
        grey = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
        assert grey.shape == tuple(round(side) for side in picture["size"][::-1])
        row, column = np.unravel_index(grey.argmax(), grey.shape)
        across, down = marks[picture["name"]]
        assert abs(across * grey.shape[1] - column) < 8  # of a bright spot of 6 × 6 × 12 mm
        assert abs(down * grey.shape[0] - row) < 8
        assert across < 0.4  # the patient's right
        assert grey.max() == 255
        assert np.median(grey) == 0
    assert marks["coronal"][1] < 0.5 < marks["axial"][1]  # superior; posterior


def test_the_key_of_what_a_browser_keeps_is_the_contents(tmp_path):
    keys = []
    for number, threshold in enumerate((0.42, 0.42, 0.43)):
        about = About("P-07", threshold, [])
        write_page(tmp_path / f"{number}.html", [finding()], about)
        keys.append(content(tmp_path / f"{number}.html")["key"])
    assert keys[0] == keys[1] != keys[2]


def test_text_stays_text_and_missing_numbers_are_said(tmp_path):
    about = About("</title><script>alert(1)</script>", 0.5, [("<b>", "</script>")])
    odd = finding(refractory_probability=float("nan"), mean_hu=np.nan, site="</script><b>")
    write_page(tmp_path / "odd.html", [odd], about)
    text = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    lesion = content(tmp_path / "odd.html")["lesions"][0]
    assert lesion["probability"] is None
    assert ["Mean density", "n/a"] in lesion["facts"]
    assert ["Site", "</script><b>"] in lesion["facts"]


def test_what_must_be_known_before_judging_is_not_folded_away(tmp_path):
    about = dataclasses.replace(ABOUT, warnings=("The scan is <cut>.", "Another sentence."))
    write_page(tmp_path / "none.html", [], about)
    text = (tmp_path / "none.html").read_text(encoding="utf-8")
    told = text[text.index('<div class="warnings" role="note">') : text.index("</header>")]
    assert "<p>The scan is &lt;cut&gt;.</p>" in told
    assert "<p>Another sentence.</p>" in told
    assert "<details" not in told


def test_a_page_without_lesions_says_so(tmp_path):
    write_page(tmp_path / "none.html", [], ABOUT)
    text = (tmp_path / "none.html").read_text(encoding="utf-8")
    assert "No lesion was found" in text
    assert "For research use only" in text
    assert "<script" not in text
