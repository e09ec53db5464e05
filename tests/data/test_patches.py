import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.data.patches import ChunkedRows, SampleCutter, WindowCutter


def padded_windows(raster: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """The plain way: pad the whole raster symmetrically, then slice."""
    before, after = size // 2, size - size // 2
    padded = np.pad(raster, ((before, after), (before, after), (0, 0)), mode="symmetric")
    cut = [padded[r : r + size, c : c + size].transpose(2, 0, 1) for r, c in zip(rows, cols, strict=True)]
    return np.stack(cut).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    bands=st.integers(1, 3),
    size=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_windows_equal_those_of_a_padded_raster(height: int, width: int, bands: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    raster = rng.integers(0, 60000, (height, width, bands)).astype(np.uint16)
    rows, cols = (axis.ravel() for axis in np.mgrid[:height, :width])
    cutter = WindowCutter(raster, size)
    windows = cutter.cut(rows, cols)
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(windows, padded_windows(raster, rows, cols, size))
    np.testing.assert_array_equal(windows[:, :, size // 2, size // 2], cutter.centres(rows, cols))


def test_the_pixel_is_at_index_7_of_14() -> None:
    raster = np.arange(40 * 40, dtype=np.float32).reshape(40, 40, 1)
    window = WindowCutter(raster, 14).cut(np.array([20]), np.array([22]))[0, 0]
    np.testing.assert_array_equal(window, raster[13:27, 15:29, 0])
    assert window[7, 7] == raster[20, 22, 0]


def test_a_window_is_never_a_view_of_the_raster() -> None:
    raster = np.zeros((4, 4, 1), np.float32)
    WindowCutter(raster, 1).cut(np.array([1]), np.array([1]))[:] = 5
    samples = np.zeros((4, 1, 2, 3, 3), np.float32)
    SampleCutter(samples).cut(np.array([0, 1]), np.zeros(2, int))[:] = 5
    assert raster.max() == samples.max() == 0


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_chunks_read_like_one_array(lengths: list[int], data: st.DataObject) -> None:
    whole = np.arange(sum(lengths) * 3).reshape(-1, 3)
    chunks = np.split(whole, np.cumsum(lengths)[:-1])
    indices = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)), int)
    np.testing.assert_array_equal(ChunkedRows(chunks).take(indices), whole[indices])


def test_an_index_beyond_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        ChunkedRows([np.zeros((2, 3)), np.zeros((2, 3))]).take(np.array([4]))


def test_chunks_of_several_types_keep_their_values() -> None:
    chunks = [np.array([[1], [200]], np.uint8), np.array([[0.25], [-3.5]], np.float32)]
    np.testing.assert_array_equal(ChunkedRows(chunks).take(np.arange(4))[:, 0], [1, 200, 0.25, -3.5])
