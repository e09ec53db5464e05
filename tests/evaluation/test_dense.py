"""Maps from dense windows: the bits of the whole in blocks, plain blending as the reference, sensors by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.data.patches import WindowCutter
from mamol.data.sources import ArraySource, Source
from mamol.evaluation.blocks import Windows
from mamol.evaluation.dense import DenseClassifier, blending, window_starts
from mamol.evaluation.frame import Frame
from tests.evaluation.test_blocks import BITS, assert_equal, joined, rasters


def shares(windows: Windows, present: np.ndarray) -> np.ndarray:
    """Two classes: of every pixel from all values of its window, its place in it, and which modalities are there."""
    total: np.ndarray = np.zeros(())
    for column, window in enumerate(windows.values()):
        own = np.nan_to_num(window).sum(axis=1)
        around = own.mean(axis=(1, 2), keepdims=True) + np.arange(window.shape[3]) / 10
        total = total + np.where(present[:, column, None, None], own + around, 0)
    share = 1 / (1 + np.exp(-total))
    return np.stack([share, 1 - share], axis=3).astype(np.float32)


def together(windows: Windows, present: np.ndarray) -> np.ndarray:
    """As ``shares``, and the size of the batch counts."""
    found = shares(windows, present)
    found[..., 0] += 1e-4 * len(present)
    return found


def classifier(
    given: dict[str, np.ndarray], size: int, batch: int, stride: int, of: object = together
) -> DenseClassifier:
    sources: dict[str, Source] = {name: ArraySource(raster) for name, raster in given.items()}
    return DenseClassifier(of, sources, BITS, size, 2, batch, stride=stride)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 30),
    size=st.integers(1, 12),
    stride=st.integers(1, 12),
    batch=st.integers(1, 9),
    block=st.integers(1, 12),
    holes=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_a_map_in_blocks_has_the_bits_of_the_whole(
    height: int, width: int, size: int, stride: int, batch: int, block: int, holes: float
) -> None:
    """Though rows of windows that reach into two blocks are computed twice, and the bits depend on the batch."""
    made = classifier(rasters(height, width, holes), size, batch, min(stride, size))
    frame = Frame(0, 0, height, width)
    assert_equal(joined(made, frame, block), made.block(frame, 0, height))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 25),
    width=st.integers(1, 25),
    size=st.integers(1, 9),
    stride=st.integers(1, 9),
    holes=st.sampled_from([0.0, 0.4]),
    top=st.integers(0, 8),
    left=st.integers(0, 8),
)
def test_the_weighted_mean_of_all_windows(
    height: int, width: int, size: int, stride: int, holes: float, top: int, left: int
) -> None:
    """Of every pixel, of a part of a scene as of the whole; the sensors are those that saw the pixel."""
    given, stride = rasters(height, width, holes), min(stride, size)
    top, left = min(top, height - 1), min(left, width - 1)
    block = classifier(given, size, 4, stride, shares).block(
        Frame(top, left, height - top, width - left), 0, height - top
    )
    total, weights = np.zeros((height + size, width + size, 2)), np.zeros((height + size, width + size))
    cutters = {name: WindowCutter(raster, size) for name, raster in given.items()}
    weight = np.outer(blending(size), blending(size))
    for row in window_starts(height, size, stride, 0, height):
        for col in window_starts(width, size, stride, 0, width):
            middle = np.array([row + size // 2]), np.array([col + size // 2])
            windows = {name: cutter.cut(*middle) for name, cutter in cutters.items()}
            present = np.array([[not np.isnan(window).all() for window in windows.values()]])
            if present.any():
                here = slice(row, row + size), slice(col, col + size)
                total[here] += weight[..., None] * shares(windows, present)[0]
                weights[here] += weight
    valid = np.stack([~np.isnan(raster[..., 0]) for raster in given.values()])
    seen = valid.any(0)
    expected = total[:height, :width].max(2) / np.where(seen, weights[:height, :width], 1)
    found, there = block.confidence, seen[top:, left:]
    np.testing.assert_allclose(found[there], expected[top:, left:][there], rtol=2e-5)
    assert np.isnan(found[~there]).all()
    np.testing.assert_array_equal(block.classes > 0, there)
    bits = sum(mask.astype(int) << BITS[name] for name, mask in zip(given, valid, strict=True))
    np.testing.assert_array_equal(block.sensors, bits[top:, left:])


@given(length=st.integers(1, 60), size=st.integers(1, 20), stride=st.integers(1, 20))
def test_windows_cover_the_axis_and_stay_on_it(length: int, size: int, stride: int) -> None:
    """Every pixel is in a window; only an axis that is shorter than one is left."""
    starts = window_starts(length, size, min(stride, size), 0, length)
    covered = {int(start) + place for start in starts for place in range(size)}
    assert covered >= set(range(length))
    assert starts[0] == 0
    assert starts[-1] == max(length - size, 0)


def test_how_many_windows() -> None:
    """The hybrid scene of 166 x 600 pixels at a stride of 16 takes 418 windows, and 99,600 of the class token."""
    given = {"hsi": np.zeros((166, 600, 1), np.float32)}
    assert classifier(given, 16, 32, 16).windows(Frame(0, 0, 166, 600)) == 418


def test_a_probability_that_is_no_number_is_refused() -> None:
    """With the place in the scene, not in the map."""
    given = {"hsi": np.zeros((6, 6, 1), np.float32)}

    def broken(windows: Windows, present: np.ndarray) -> np.ndarray:
        found = shares(windows, present)
        found[:, 1, 1] = np.nan
        return found

    with pytest.raises(MamolError, match="NaN or infinite at row 4, column 4"):
        classifier(given, 3, 2, 3, broken).block(Frame(2, 2, 4, 4), 0, 4)
