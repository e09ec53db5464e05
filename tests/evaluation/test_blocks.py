"""Blocks: the windows and bits of the whole scene, and the sensors that saw each pixel."""

from functools import partial
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from mamol.core.errors import MamolError
from mamol.data.patches import WindowCutter
from mamol.data.scenes import GeoReference
from mamol.data.sources import ArraySource, Source
from mamol.evaluation import blocks
from mamol.evaluation.blocks import Block, WindowClassifier, block_rows
from mamol.evaluation.frame import Frame, frame_of

BITS = {"hsi": 0, "lidar": 1, "sar": 2}
BANDS = {"hsi": 3, "sar": 2}


def rasters(height: int, width: int, holes: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    made = {name: rng.normal(size=(height, width, bands)).astype(np.float32) for name, bands in BANDS.items()}
    for raster in made.values():
        raster[rng.random((height, width)) < holes] = np.nan
    return made


def sums(windows: dict[str, np.ndarray], present: np.ndarray) -> np.ndarray:
    """Two classes, whose probabilities depend on every value of the windows, its place, and on the batch's size."""
    assert present.any(axis=1).all()
    total = np.zeros(len(present))
    for column, window in enumerate(windows.values()):
        weights = np.arange(window[0].size).reshape(window.shape[1:]) % 97
        assert np.isfinite(window[present[:, column], 0, window.shape[2] // 2, window.shape[3] // 2]).all()
        total += np.where(present[:, column], np.nansum(window * weights, axis=(1, 2, 3)), 0)
    share = 1 / (1 + np.exp(-(total / 500 + 1e-4 * len(present))))
    return np.stack([share, 1 - share], axis=1).astype(np.float32)


def classifier(given: dict[str, np.ndarray], size: int, batch: int, **options: object) -> WindowClassifier:
    sources: dict[str, Source] = {name: ArraySource(raster) for name, raster in given.items()}
    return WindowClassifier(sums, sources, BITS, size, 2, batch, **options)  # type: ignore[arg-type]


def joined(made: WindowClassifier, frame: Frame, rows: int) -> Block:
    parts = [made.block(frame, first, min(first + rows, frame.height)) for first in range(0, frame.height, rows)]
    return Block(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "confidence", "sensors"))
    )


def assert_equal(one: Block, other: Block) -> None:
    for name in ("classes", "confidence", "sensors"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first.dtype, first.tobytes()) == (second.dtype, second.tobytes()), name


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 30),
    size=st.integers(1, 15),
    batch=st.integers(1, 40),
    block=st.integers(1, 12),
    holes=st.sampled_from([0.0, 0.3]),
    budget=st.sampled_from([1, 5000, 1 << 20]),
)
def test_a_map_in_blocks_has_the_bits_of_the_whole(
    height: int, width: int, size: int, batch: int, block: int, holes: float, budget: int
) -> None:
    """Whatever the scene, the window, the batch, the block, and how much is read at once."""
    given = rasters(height, width, holes)
    made, frame = classifier(given, size, batch), Frame(0, 0, height, width)
    whole = made.block(frame, 0, height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "READ_BYTES", budget)
        assert_equal(joined(made, frame, block_rows(block, width, batch)), whole)
    if not holes:  # today's way: windows of the whole raster, pixels in batches row by row
        cutters = {name: WindowCutter(raster, size) for name, raster in given.items()}
        for start in range(0, height * width, batch):
            rows, cols = np.divmod(np.arange(start, min(start + batch, height * width)), width)
            found = sums({name: cut.cut(rows, cols) for name, cut in cutters.items()}, np.ones((len(rows), 2), bool))
            np.testing.assert_array_equal(whole.confidence[rows, cols], found.max(1))
            np.testing.assert_array_equal(whole.classes[rows, cols], found.argmax(1) + 1)


def test_blocks_that_did_not_end_with_a_batch_would_have_other_bits() -> None:
    """The stand-in for a network notices the size of a batch, so the test above can fail."""
    made, frame = classifier(rasters(9, 7), 3, 16), Frame(0, 0, 9, 7)
    assert (joined(made, frame, 4).confidence != made.block(frame, 0, 9).confidence).any()


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 8), least=st.sampled_from([0.01, 0.3, 0.5, 1.0]), holes=st.sampled_from([0.1, 0.5, 0.95]))
def test_a_sensor_is_used_where_it_saw_the_pixel_and_enough_around_it(size: int, least: float, holes: float) -> None:
    given = rasters(12, 11, holes)
    block = classifier(given, size, 13, min_valid=least).block(Frame(0, 0, 12, 11), 0, 12)
    expected = np.zeros((12, 11), int)
    for name, raster in given.items():
        padded = np.pad(~np.isnan(raster[..., 0]), 24, "symmetric")
        for row, col in np.ndindex(12, 11):
            top, left = row + 24 - size // 2, col + 24 - size // 2
            window = padded[top : top + size, left : left + size]
            if padded[row + 24, col + 24] and window.sum() >= least * size**2:
                expected[row, col] |= 1 << BITS[name]
    np.testing.assert_array_equal(block.sensors, expected)
    np.testing.assert_array_equal(block.classes == 0, expected == 0)
    np.testing.assert_array_equal(np.isnan(block.confidence), expected == 0)


@pytest.mark.parametrize(
    ("wanted", "width", "batch", "rows"),
    [(512, 20_000, 32, 512), (1, 36, 32, 8), (10, 36, 32, 16), (512, 10**6, 32, 16), (512, 10**8, 32, 1), (7, 5, 1, 7)],
)
def test_blocks_end_where_batches_do_and_stay_small_in_wide_scenes(
    wanted: int, width: int, batch: int, rows: int
) -> None:
    assert block_rows(wanted, width, batch) == rows
    assert rows * width % batch == 0


def test_where_no_sensor_saw_the_network_is_not_asked() -> None:
    given = {name: np.full_like(raster, np.nan) for name, raster in rasters(6, 5).items()}
    made = WindowClassifier(
        lambda *_: pytest.fail("asked"), {n: ArraySource(r) for n, r in given.items()}, BITS, 3, 2, 4
    )
    block = made.block(Frame(0, 0, 6, 5), 0, 6)
    assert not block.classes.any()
    assert not block.sensors.any()


def test_no_more_rows_are_read_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "READ_BYTES", 40 * 50 * 4 * 2)  # 40 rows of 2 bands, 50 wide
    sizes = []

    class Watched(ArraySource):
        def read(self, rows: slice, cols: slice) -> np.ndarray:
            sizes.append((rows.stop - rows.start, cols.stop - cols.start))
            return super().read(rows, cols)

    source = Watched(rasters(300, 50)["sar"])
    WindowClassifier(sums, {"sar": source}, BITS, 14, 2, 32).block(Frame(0, 0, 300, 50), 0, 300)
    assert max(rows for rows, _ in sizes) <= 41
    assert len(sizes) > 10


def test_probabilities_are_kept_when_wanted() -> None:
    given = rasters(8, 6, 0.3)
    block = classifier(given, 3, 5, probabilities=True).block(Frame(0, 0, 8, 6), 0, 8)
    assert block.probabilities is not None
    seen = block.classes > 0
    assert (block.probabilities[:, ~seen] == blocks.NO_PROBABILITY).all()
    np.testing.assert_allclose(block.probabilities[:, seen].max(0) / 10_000, block.confidence[seen], atol=1e-4)
    np.testing.assert_allclose(block.probabilities[:, seen].sum(0), 10_000, atol=2)


PLACE = GeoReference(CRS.from_epsg(32632).to_wkt(), (10.0, 0.0, 500000.0, 0.0, -10.0, 5200000.0))


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ((500020, 5199900, 500050, 5199970), (3, 2, 7, 3)),
        ((500021, 5199901, 500049, 5199969), (3, 2, 7, 3)),
        ((400000, 5199990, 500010, 6000000), (0, 0, 1, 1)),
        ((0, 0, 1e7, 1e7), (0, 0, 30, 20)),
    ],
)
def test_a_box_is_the_pixels_that_it_touches(bbox: tuple[float, ...], expected: tuple[int, ...]) -> None:
    frame = frame_of(30, 20, PLACE, bbox)
    assert (frame.top, frame.left, frame.height, frame.width) == expected
    assert frame.georeference is not None
    assert frame.georeference.transform[2::3] == (500000 + 10 * expected[1], 5200000 - 10 * expected[0])


def test_a_box_has_the_windows_of_the_scene() -> None:
    """The map of a box sees beyond it: batches of one pixel make it comparable."""
    given = rasters(30, 20, 0.2)
    made = classifier(given, 7, 1)
    whole = made.block(Frame(0, 0, 30, 20), 0, 30)
    frame = frame_of(30, 20, PLACE, (500020, 5199900, 500150, 5199970))
    part = joined(made, frame, 2)
    there = slice(frame.top, frame.top + frame.height), slice(frame.left, frame.left + frame.width)
    assert_equal(part, Block(whole.classes[there], whole.confidence[there], whole.sensors[there]))


def write_polygons(path: Path, crs: str = "EPSG:4326") -> tuple[Path, shapely.Geometry]:
    shape = shapely.Polygon([(500037, 5199967), (500137, 5199948), (500097, 5199807), (500037, 5199863)])
    frame = geopandas.GeoDataFrame({"name": ["x"]}, geometry=[shape], crs="EPSG:32632").to_crs(crs)
    frame.to_file(path)
    return path, shape


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp"])
def test_a_polygon_holds_the_pixels_whose_centre_is_inside(ending: str, tmp_path: Path) -> None:
    path, shape = write_polygons(tmp_path / f"place.{ending}")
    frame = frame_of(30, 20, PLACE, polygon=str(path))
    made = classifier(rasters(30, 20), 3, 4)
    block = joined(made, frame, block_rows(3, frame.width, 4))
    rows, cols = np.mgrid[: frame.height, : frame.width]
    inside = shapely.contains_xy(shape, 500005 + 10 * (cols + frame.left), 5199995 - 10 * (rows + frame.top))
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(block.classes > 0, inside)


BOX = (500020.0, 5199900.0, 500050.0, 5199970.0)


def test_places_that_are_none_are_told_in_one_line(tmp_path: Path) -> None:
    of = partial(frame_of, 30, 20)
    nowhere = str(write_polygons(tmp_path / "x.gpkg")[0])
    points = tmp_path / "points.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.Point(500050, 5199950)], crs="EPSG:32632").to_file(points)
    empty = tmp_path / "empty.gpkg"
    geopandas.GeoDataFrame({"a": []}, geometry=[], crs="EPSG:32632").to_file(empty)
    text = tmp_path / "text.gpkg"
    text.write_text("nothing")
    far = GeoReference(PLACE.crs, (10.0, 0.0, 600000.0, 0.0, -10.0, 5200000.0))
    unknown = GeoReference("", PLACE.transform)
    for make, message in (
        (lambda: of(PLACE, BOX, nowhere), "two places for one map; give one of them"),
        (lambda: of(None, BOX), "bbox=500020,5199900,500050,5199970: the scene has no coordinates"),
        (lambda: of(far, BOX), r"is outside the scene, which is 600000 5199700 600200 5200000"),
        (lambda: of(far, polygon=nowhere), "is outside the scene"),
        (lambda: of(unknown, polygon=nowhere), "need a coordinate reference system each"),
        (lambda: of(PLACE, polygon=str(tmp_path / "none.gpkg")), "no such file"),
        (lambda: of(PLACE, polygon=str(points)), "found Point; a map is limited by polygons only"),
        (lambda: of(PLACE, polygon=str(empty)), "there are no polygons in it"),
        (lambda: of(PLACE, polygon=str(text)), "cannot be read"),
        (lambda: of(PLACE, (500050.0, 5199900.0, 500020.0, 5199970.0)), "left,bottom,right,top"),
    ):
        with pytest.raises(MamolError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)
