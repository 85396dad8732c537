"""The lung field on drawn bodies whose lungs are known, and on phantoms."""

import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.cohort.phantom import chest, grid
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.lungs import cut_off, given_or_found, lung_field
from dtc_jax.imaging.volume import Volume

SPACING_MM = (4.0, 3.0, 3.0)
AFFINE = np.diag([*SPACING_MM, 1.0])
# A small supine trunk on a foam table; centres and radii in mm along z, y, x.
SHAPE = (60, 70, 90)
Z, Y, X = (
    (np.arange(n) - (n - 1) / 2).reshape(along) * side
    for n, side, along in zip(SHAPE, SPACING_MM, [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True)
)
LEFT, RIGHT = ((0, 10, -55), (90, 60, 40)), ((0, 10, 55), (90, 60, 40))


def _ball(center, radii) -> np.ndarray:
    """An ellipsoid, or a ball where `radii` is one number. # [Z, Y, X] bool"""
    places = (
        (axis - c) / r
        for axis, c, r in zip((Z, Y, X), center, np.broadcast_to(radii, 3), strict=True)
    )
    return sum(place**2 for place in places) < 1


def _trunk(*, table=True) -> np.ndarray:
    hu = np.where(((Y - 12) / 80) ** 2 + (X / 118) ** 2 < 1, 40.0, -1000.0) + 0 * Z
    if table:
        shell = (Y < -70) & (Y > -101) & (abs(X) < 130) & (Z < 1e9)
        foam = (Y < -73) & (Y > -98) & (abs(X) < 127) & (Z < 1e9)
        hu[shell], hu[foam] = 300.0, -880.0
    return hu


def _chest(*lungs) -> tuple[np.ndarray, np.ndarray]:
    """HU of a trunk with a windpipe, vessels and these lungs, and the lungs."""
    hu = _trunk()
    hu[((Y / 9) ** 2 + (X / 9) ** 2 < 1) & (Z > 30)] = -1000.0
    field = np.zeros(SHAPE, bool)
    for center, radii in lungs:
        field |= _ball(center, radii)
    hu[field] = -860.0
    hu[field & (abs(Z) < 6) & (abs(Y) < 6)] = 50.0  # vessels that cross the lungs
    return hu, field


def _scan(hu: np.ndarray, noise_hu: float = 40.0) -> Volume:
    noise = np.random.default_rng(0).normal(0, noise_hu, hu.shape)
    return Volume(np.rint(np.clip(hu + noise, -1024, 3071)).astype(np.int16), AFFINE)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("lungs", [(LEFT, RIGHT), (LEFT,), (RIGHT,)])
@pytest.mark.parametrize("noise_hu", [0.0, 80.0])
def test_both_lungs_and_one_alone_are_found_and_nothing_else(lungs, noise_hu):
    hu, expected = _chest(*lungs)
    found = lung_field(_scan(hu, noise_hu))
    assert found.array.dtype == bool
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert _dice(found.array, expected) > 0.95
    assert not found.array[hu == -880].any()  # the table's foam is as dense as lung


@pytest.mark.parametrize("radius_mm", [4, 8])
def test_a_nodule_belongs_to_it_inside_and_at_the_pleura(radius_mm):
    hu, lungs = _chest(LEFT, RIGHT)
    center, radii = LEFT
    inside = _ball(center, radius_mm)
    touching = [  # the pleura behind, beside, in front and towards the heart
        _ball(np.add(center, np.multiply(toward, np.subtract(radii, radius_mm))), radius_mm)
        for toward in ((0, -1, 0), (0, 0, -1), (0, 1, 0), (0, 0, 1))
    ]
    within = ndimage.binary_erosion(lung_field(_scan(hu)).array)  # to a voxel
    half = _ball(np.add(center, (0, 0.8 * radii[1], -0.6 * radii[2])), radius_mm) & lungs
    for nodule in (inside, half, *touching):
        hu[nodule] = 30.0
    found = lung_field(_scan(hu)).array
    assert found[inside].all()
    for nodule in touching:
        assert found[nodule & within].mean() > 0.9
    assert found[half].mean() >= 0.5


def test_a_mass_within_a_lung_belongs_to_it():
    hu, _ = _chest(LEFT, RIGHT)
    mass = _ball(LEFT[0], 30)
    hu[mass] = 30.0
    assert lung_field(_scan(hu)).array[mass].all()


def test_a_scan_that_cuts_the_lungs_off_keeps_them_to_its_edge():
    hu, lungs = _chest(LEFT, RIGHT)
    middle = (slice(18, 40), slice(None), slice(22, None))
    found = lung_field(_scan(hu[middle]))
    expected = lungs[middle]
    assert _dice(found.array, expected) > 0.95
    for edge in (np.s_[0], np.s_[-1], np.s_[:, :, 0]):
        assert _dice(found.array[edge], expected[edge]) > 0.9
    assert cut_off(found) == ["bottom", "top", "left"]
    assert not cut_off(lung_field(_scan(hu)))


def test_a_throat_that_opens_to_the_outside_neither_hides_the_lungs_nor_belongs_to_them():
    hu, lungs = _chest(LEFT, RIGHT)
    throat = (Z > 112) & (Y > -8) & (abs(X) < 12)
    hu[throat] = -1000.0
    joined = (abs(Z - 40) < 10) & (abs(Y) < 9) & (abs(X) < 40)  # main bronchi
    hu[joined] = -1000.0
    found = lung_field(_scan(hu)).array
    assert found[lungs].mean() > 0.95
    assert not found[throat & ~lungs].any()


def test_padding_and_a_calibration_error_change_little():
    hu, expected = _chest(LEFT, RIGHT)
    for changed in (np.where((Y**2 + X**2) < 125**2, hu, -3024.0), hu + 30, hu - 30):
        found = lung_field(Volume(changed.astype(np.float32), AFFINE))
        assert _dice(found.array, expected) > 0.95


def _head() -> np.ndarray:
    hu = np.full(SHAPE, -1000.0)
    hu[_ball((0, 0, 0), (110, 95, 75))] = 900.0
    hu[_ball((0, 0, 0), (103, 88, 68))] = 35.0
    hu[_ball((-40, 50, 0), (35, 30, 40))] = -1000.0  # sinuses and throat
    hu[_ball((-40, -20, 60), 8)] = -700.0  # mastoid cells
    return hu


def _abdomen() -> np.ndarray:
    hu = _trunk()
    hu[_ball((0, 40, 0), (40, 30, 80))] = -1000.0  # gas in the colon
    hu[_ball((60, 10, -50), 30)] = -980.0
    hu[_ball((-60, 0, 50), 32)] = -350.0  # stool
    return hu


@pytest.mark.parametrize(
    ("name", "hu"),
    [
        ("air", np.full(SHAPE, -1000.0)),
        ("water", _trunk(table=False)),
        ("trunk on a table", _trunk()),
        ("head", _head()),
        ("abdomen", _abdomen()),
        ("a single slice of air", np.full((1, 8, 8), -1000.0)),
    ],
)
def test_what_is_not_a_chest_has_no_lungs(name, hu):
    with pytest.raises(InputError, match="no lungs found"):
        lung_field(_scan(hu))


def test_intensities_that_are_not_hu_are_refused_with_advice():
    hu, _ = _chest(LEFT, RIGHT)
    for other in (np.clip(hu + 1024, 0, None), np.zeros(SHAPE), hu / 2000):
        with pytest.raises(InputError, match=r"no lungs found.*rescale intercept"):
            lung_field(Volume(other.astype(np.float32), AFFINE))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lungs_of_phantoms_are_found(seed):
    drawn = grid.Grid((60, 96, 120), (2.0, 1.6, 1.6))
    hu, depth_mm = chest.draw(drawn, np.random.default_rng(seed))
    found = lung_field(Volume(hu, np.diag([*drawn.spacing_mm, 1.0]))).array
    assert found[depth_mm > 1].mean() > 0.99  # with the vessels inside
    assert (found & (hu > -400)).sum() < 0.15 * found.sum()


def _thorax() -> tuple[np.ndarray, np.ndarray]:
    """A trunk with arms and clothes on a table, hollows full of air, and the lungs.

    The hollows are in front of the sternum, with a fold of cloth over it, and beside the neck.
    """
    hu, lungs = _chest(LEFT, RIGHT)
    hu[(((abs(X) - 128) / 12) ** 2 + (Y / 14) ** 2 < 1) & (Z < 60)] = 40.0  # arms
    notch = (X / 30) ** 2 + ((Y - 95) / 18) ** 2 + (Z / 70) ** 2 < 1
    neck = (abs(X) > 32) & (Y > -20) & (Z > 100)
    hu[(notch | neck) & ~lungs] = -930.0  # air that a fold of cloth and its noise make denser
    cloth = (abs(Y - 94) < 2.5) & (abs(X) < 90) & (Z < 1e9)
    hu[cloth] = -300.0
    return hu, lungs


def _inside_body(found: np.ndarray, lungs: np.ndarray) -> bool:
    """Whether a field has no voxel farther than the chest wall from the lungs."""
    far = ndimage.distance_transform_edt(~lungs, sampling=SPACING_MM) > 12
    outside = ((Y - 12) / 80) ** 2 + (X / 118) ** 2 >= 1
    return not (found & far & outside).any()


@pytest.mark.parametrize("is_prone", [False, True])
def test_air_around_the_body_is_no_lung(is_prone):
    hu, lungs = _thorax()
    turn = np.s_[:, ::-1] if is_prone else np.s_[:]
    found = lung_field(_scan(hu[turn])).array[turn]
    assert _inside_body(found, lungs)
    assert not found[(hu == -930) | (hu == -880) | (hu == -300)].any()
    assert _dice(found, lungs) > 0.95


@pytest.mark.extras
@pytest.mark.parametrize(
    ("center", "radii"),
    [
        ((5, 12, -82), (23, 24, 24)),  # 47 mL, at the ribs
        ((0, -38, -62), (24, 24, 24)),  # at the back
        ((0, 62, 60), 23),  # in front
    ],
)
def test_a_large_mass_at_the_chest_wall_belongs_to_it_and_the_wall_does_not(center, radii):
    hu, lungs = _chest(LEFT, RIGHT)
    without = lung_field(_scan(hu)).array
    mass = _ball(center, radii) & lungs
    hu[mass] = 40.0
    found = lung_field(_scan(hu)).array
    assert found[mass].mean() > 0.99
    far = ndimage.distance_transform_edt(~mass, sampling=SPACING_MM) > 18
    assert not (found & ~without & far).any()
    assert (found & ~without).sum() < mass.sum()


def test_the_heart_is_no_mass():
    hu, lungs = _chest(LEFT, RIGHT)
    heart = _ball((-20, 35, -20), (50, 45, 45))
    hu[heart] = 40.0
    found = lung_field(_scan(hu)).array
    assert found[heart].mean() < 0.4
    assert found[lungs & ~heart].mean() > 0.97


@pytest.mark.parametrize("step", [1, 2])
def test_thick_slices_and_thin_ones_give_the_same_lungs(step):
    hu, lungs = _thorax()
    thick = AFFINE @ np.diag([step, 1, 1, 1])
    found = lung_field(Volume(_scan(hu).array[::step], thick)).array
    assert _dice(found, lungs[::step]) > 0.95


def test_lungs_that_are_given_are_taken_as_they_are(tmp_path):
    hu, field = _chest(LEFT, RIGHT)
    affine = AFFINE[[2, 1, 0, 3]]  # index (z, y, x) to world x, y, z
    image = Volume(_scan(hu).array, affine)
    half = field & (X < 0)
    volume.write(tmp_path / "lungs.nii", Volume(half * np.uint8(3), affine))
    np.testing.assert_array_equal(given_or_found(image, tmp_path / "lungs.nii").array, half)
    np.testing.assert_array_equal(given_or_found(image).array, lung_field(image).array)
    volume.write(tmp_path / "lungs.nii", Volume(half[:-1], affine))
    with pytest.raises(InputError, match=r"lungs\.nii: the mask has \(59, .* its scan has \(60,"):
        given_or_found(image, tmp_path / "lungs.nii")
    volume.write(tmp_path / "lungs.nii", Volume(half & False, affine))
    with pytest.raises(InputError, match=r"lungs\.nii: the mask is empty; segment the lungs, or"):
        given_or_found(image, tmp_path / "lungs.nii")
