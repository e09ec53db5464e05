"""The synthetic scene: layout of the files, determinism, and what each sensor can and cannot tell apart."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.ndimage import label

from mamol.core.errors import MamolError
from mamol.data import synthetic

WATER, GRASS, CROPS, TREES, BUILDINGS, ROADS = range(1, 7)
SENSORS = ("HSI", "LiDAR", "SAR")


def load(root: Path) -> dict[str, np.ndarray]:
    return {name: loadmat(root / f"{name}.mat")[name] for name in (*SENSORS, "All_label")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return load(synthetic.write_synthetic_scene(tmp_path_factory.mktemp("scene")))


def confusion(scene: dict[str, np.ndarray], sensors: tuple[str, ...]) -> np.ndarray:
    """Nearest class mean in whitened space (linear discriminant) of the centre pixel: 200 train, 300 test per class."""
    labels = scene["All_label"].ravel()
    features = np.concatenate([scene[name].reshape(len(labels), -1).astype(float) for name in sensors], axis=1)
    draws = [np.random.default_rng(0).permutation(np.flatnonzero(labels == code)) for code in range(1, 7)]
    features = (features - features.mean(0)) / features.std(0)
    means = np.stack([features[draw[:200]].mean(0) for draw in draws])
    within = np.mean([np.cov(features[draw[:200]].T) for draw in draws], axis=0).reshape(len(means[0]), -1)
    whiten = np.linalg.inv(np.linalg.cholesky(within + 0.01 * np.eye(len(within)))).T
    matrix = np.zeros((6, 6))
    for true, draw in enumerate(draws):
        offset = (features[draw[200:500], None] - means) @ whiten
        matrix[true] = np.bincount((offset**2).sum(-1).argmin(1), minlength=6)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    return 100 * matrix.trace() / matrix.sum()


def test_files_have_the_names_shapes_and_types_of_the_releases(scene: dict[str, np.ndarray]) -> None:
    found = {name: (raster.shape, raster.dtype.name) for name, raster in scene.items()}
    assert found == {
        "HSI": ((96, 160, 48), "uint16"),
        "LiDAR": ((96, 160), "float32"),
        "SAR": ((96, 160, 2), "float32"),
        "All_label": ((96, 160), "uint8"),
    }
    assert all(np.isfinite(scene[name]).all() for name in SENSORS)


def test_every_class_has_enough_labelled_pixels_and_there_are_gaps(scene: dict[str, np.ndarray]) -> None:
    counts = np.bincount(scene["All_label"].ravel(), minlength=7)
    assert len(counts) == 7
    assert counts[1:].min() >= 500
    assert 0.1 < counts[0] / counts.sum() < 0.4


def test_classes_are_spatially_coherent(scene: dict[str, np.ndarray]) -> None:
    labels = scene["All_label"]
    same = [(a == b)[(a > 0) & (b > 0)].mean() for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))]
    assert min(same) > 0.8
    sizes = np.bincount(label(labels == WATER)[0].ravel())[1:]
    assert sizes.max() > 100  # a river, not scattered pixels


def test_all_sensors_together_classify_well_and_each_alone_clearly_worse(scene: dict[str, np.ndarray]) -> None:
    together = accuracy(confusion(scene, SENSORS))
    assert 80 < together < 95
    for sensor in SENSORS:
        assert 35 < accuracy(confusion(scene, (sensor,))) < together - 12
    for pair in itertools.combinations(SENSORS, 2):
        assert accuracy(confusion(scene, pair)) < together


@pytest.mark.parametrize(
    ("pair", "confuses", "separates"),
    [
        ((BUILDINGS, ROADS), "HSI", "LiDAR"),
        ((TREES, BUILDINGS), "LiDAR", "HSI"),
        ((WATER, ROADS), "LiDAR", "SAR"),
        ((CROPS, TREES), "SAR", "LiDAR"),
        ((GRASS, CROPS), "HSI", "LiDAR"),
    ],
)
def test_what_one_sensor_confuses_another_separates(
    scene: dict[str, np.ndarray], pair: tuple[int, int], confuses: str, separates: str
) -> None:
    def mixed_up(sensor: str) -> float:
        matrix = confusion(scene, (sensor,))[np.ix_(np.array(pair) - 1, np.array(pair) - 1)]
        return 100 - accuracy(matrix)

    assert mixed_up(confuses) > 18
    assert mixed_up(separates) < mixed_up(confuses) * 0.6


def test_speckle_is_multi_look(scene: dict[str, np.ndarray]) -> None:
    """Intensity over the mean of its field has relative variance 1/looks; a field's own level adds to it."""
    river = 10 ** (scene["SAR"][..., 0][scene["All_label"] == WATER] / 10)
    assert 1 / 4 * 0.9 < river.var() / river.mean() ** 2 < 1 / 4 * 2.2


def test_same_seed_same_bytes_other_seed_other_scene(tmp_path: Path) -> None:
    def folder(name: str, seed: int) -> dict[str, bytes]:
        root = synthetic.write_synthetic_scene(tmp_path / name, seed=seed, height=40, width=48)
        return {path.name: path.read_bytes() for path in sorted(root.iterdir())}

    first, again, other = folder("a", 3), folder("b", 3), folder("c", 4)
    assert sorted(first) == ["All_label.mat", "HSI.mat", "LiDAR.mat", "SAR.mat"]
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_holes_hide_a_part_of_two_sensors_and_nothing_else_changes(tmp_path: Path) -> None:
    whole = load(synthetic.write_synthetic_scene(tmp_path / "whole", height=40, width=48))
    holes = load(synthetic.write_synthetic_scene(tmp_path / "holes", height=40, width=48, holes=True))
    hidden = {name: np.isnan(holes[name].reshape(40, 48, -1)) for name in ("HSI", "SAR")}
    for name, where in hidden.items():
        assert (where.all(2) == where.any(2)).all()
        where = where[:, :, 0]
        np.testing.assert_array_equal(holes[name][~where], whole[name][~where])
    clouds, outside = hidden["HSI"][:, :, 0], hidden["SAR"][:, :, 0]
    assert (clouds.mean(), outside.mean()) == pytest.approx((synthetic.CLOUDED, synthetic.UNCOVERED), abs=0.01)
    assert (np.diff(outside.astype(int), axis=1) >= 0).all()  # seen left of the edge, not seen right of it
    assert 1 <= label(clouds)[1] < 10  # blobs, not scattered pixels
    np.testing.assert_array_equal(holes["LiDAR"], whole["LiDAR"])
    np.testing.assert_array_equal(holes["All_label"], whole["All_label"])
    again = synthetic.write_synthetic_scene(tmp_path / "again", height=40, width=48, holes=True)
    assert [path.read_bytes() for path in sorted(again.iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "holes").iterdir())
    ]


@pytest.mark.filterwarnings("error")
def test_every_pixel_is_made_of_something(tmp_path: Path) -> None:
    """Chance took all materials of one pixel of this scene, and with it the HSI around it."""
    assert load(synthetic.write_synthetic_scene(tmp_path, height=64, width=96))["HSI"].any(2).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(32, 70), width=st.integers(32, 90))
def test_every_class_has_pixels_at_any_seed_and_size(seed: int, height: int, width: int) -> None:
    cover, field = synthetic._land_cover(np.random.default_rng(seed), height, width)
    assert cover.shape == field.shape == (height, width)
    assert np.bincount(cover.ravel(), minlength=6).min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, r"^seed: found -1, expected 0 or more"),
        ({"height": 31}, r"^height: found 31 pixels, expected at least 32"),
        ({"width": 8}, r"^width: found 8 pixels, expected at least 32"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    with pytest.raises(MamolError, match=message):
        synthetic.write_synthetic_scene(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "scene"
    target.write_text("mine")
    with pytest.raises(MamolError, match=r"scene: found a file, expected a folder"):
        synthetic.write_synthetic_scene(target)
    assert target.read_text() == "mine"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "scene"
    assert synthetic.main(["--out", str(out), "--seed", "5", "--height", "32", "--width", "40"]) == 0
    assert str(out) in capsys.readouterr().out
    assert load(out)["HSI"].shape == (32, 40, 48)
    assert synthetic.main(["--out", str(out), "--height", "32", "--width", "40", "--holes"]) == 0
    assert np.isnan(load(out)["HSI"]).any()
    assert synthetic.main(["--out", str(out), "--seed", "-5"]) == 1
    assert capsys.readouterr().err.startswith("error: seed: found -5")
