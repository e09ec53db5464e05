from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.data import reading
from mamol.data.facts import MUUFL, files
from mamol.data.reading import RawFolder, as_labels, as_raster
from mamol.data.scenes import load_scene
from mamol.data.validity import not_finite

Write = Callable[..., Path]
CUBE = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)


def write_tif(path: Path, array: np.ndarray, west: float = 500000) -> None:
    transform = from_origin(west, 4100000, 2.5, 2.5)
    height, width, count = array.shape
    with rasterio.open(
        path, "w", "GTiff", width, height, count, "EPSG:32615", transform, dtype=array.dtype.name
    ) as file:
        file.write(np.moveaxis(array, -1, 0))


def read(root: Path, *specs: str) -> np.ndarray:
    return RawFolder(root).read(files(*specs), "modality hsi").array


def test_the_first_candidate_that_is_there_is_read_and_remembered(tmp_path: Path, write_mat: Write) -> None:
    path = write_mat(tmp_path / "hsi_DATA.MAT", HSI_data=CUBE, other=np.zeros(3))
    folder = RawFolder(tmp_path)
    np.testing.assert_array_equal(folder.read(files("HSI", "HSI_data"), "modality hsi").array, CUBE)
    assert folder.sources == {"hsi_DATA.MAT": sha256_of(path)}


def test_matlab_73_has_its_axes_back(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "HSI.mat", "w") as file:
        file["HSI"] = CUBE.T
        file["#refs#/a"] = 1
    np.testing.assert_array_equal(read(tmp_path, "HSI"), CUBE)


@pytest.mark.parametrize("spec", ["HSI:hsi", "HSI:Other", "HSI"])
def test_variable_by_name_by_file_or_the_only_one(tmp_path: Path, write_mat: Write, spec: str) -> None:
    write_mat(tmp_path / "HSI.mat", HSI=CUBE)
    np.testing.assert_array_equal(read(tmp_path, spec), CUBE)
    write_mat(tmp_path / "HSI.mat", unheard_of=CUBE)
    np.testing.assert_array_equal(read(tmp_path, spec), CUBE)


def test_npy_and_tif_stand_in_for_mat(tmp_path: Path) -> None:
    np.save(tmp_path / "HSI.npy", CUBE)
    write_tif(tmp_path / "SAR.tif", CUBE)
    np.testing.assert_array_equal(read(tmp_path, "HSI"), CUBE)
    np.testing.assert_array_equal(read(tmp_path, "SAR"), CUBE)


def test_georeference_is_kept_and_a_contradiction_refused(tmp_path: Path) -> None:
    write_tif(tmp_path / "SAR.tif", CUBE)
    folder = RawFolder(tmp_path)
    folder.read(files("SAR"), "label map")
    place = folder.georeference((4, 5))
    assert place is not None
    assert "UTM zone 15N" in place.crs
    assert place.transform == (2.5, 0.0, 500000.0, 0.0, -2.5, 4100000.0)
    assert folder.georeference((5, 4)) is None
    write_tif(tmp_path / "HSI.tif", CUBE, west=0)
    folder.read(files("HSI"), "training label map")
    with pytest.raises(MamolError, match=r"HSI.tif: it covers x 0 to 12.5, .* but SAR.tif x 500000 to 500012.5"):
        folder.georeference((4, 5))


def test_muufl_struct_in_both_versions(tmp_path: Path, write_mat: Write) -> None:
    data, height, labels = CUBE, CUBE[:, :, :2] + 1, np.full((4, 5), -1)
    labels[0] = 3
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"z": height}
    struct = {"Data": data, "Lidar": cell, "sceneLabels": {"labels": labels, "Materials_Type": "trees"}}
    name = "muufl_gulfport_campus_1_hsi_220_label.mat"
    write_mat(tmp_path / "v5" / name, hsi=struct)
    (tmp_path / "v73").mkdir()
    with h5py.File(tmp_path / "v73" / name, "w") as file:
        file["hsi/Data"], file["hsi/sceneLabels/labels"] = data.T, labels.T
        file["#refs#/b/z"] = height.T
        file.create_dataset("hsi/Lidar", data=np.array([[file["#refs#/b"].ref]], h5py.ref_dtype))
    for version in ("v5", "v73"):
        folder = RawFolder(tmp_path / version)
        np.testing.assert_array_equal(folder.read(MUUFL.modalities["hsi"], "modality hsi").array, data)
        np.testing.assert_array_equal(folder.read(MUUFL.modalities["lidar"], "modality lidar").array, height)
        found = folder.read(MUUFL.labels, "label map")
        np.testing.assert_array_equal(as_labels(found.array, found.path), np.where(labels > 0, 3, 0))
        for variable in ("hsi.Data.z", "hsi.Nothing"):
            with pytest.raises(MamolError, match="stops at"):
                folder.read(files(f"{name}:{variable}"), "modality hsi")
        with pytest.raises(MamolError, match=r"is a struct|of type object|of type \["):
            folder.read(files(f"{name}:hsi"), "modality hsi")


ROI = """; ENVI Output of ROIs (4.8)
; Number of ROIs: 2
; File Dimension: 5 x 4
; ROI name: grass
; ROI npts: 2
; ROI name: tree
; ROI npts: 1
;  ID  X  Y  B1
  1   1   1   7
  2   5   4   7

  1   2   3   7
"""


def test_envi_roi_text_is_a_label_map(tmp_path: Path) -> None:
    path = tmp_path / "samples_TR.txt"
    path.write_text(ROI)
    expected = np.zeros((4, 5), int)
    expected[0, 0] = expected[3, 4] = 1
    expected[2, 1] = 2
    np.testing.assert_array_equal(read(tmp_path, "samples_TR.txt"), expected)
    path.write_text(ROI.replace("npts: 1", "npts: 3"))
    with pytest.raises(MamolError, match="header promises 5 points, 3 follow"):
        read(tmp_path, "samples_TR.txt")
    path.write_text(ROI.replace("  2   5   4", "  2   6   4"))
    with pytest.raises(MamolError, match="not inside 5 x 4 pixels"):
        read(tmp_path, "samples_TR.txt")


def test_missing_files_and_variables(tmp_path: Path, write_mat: Write) -> None:
    with pytest.raises(MamolError, match="no such folder"):
        RawFolder(tmp_path / "nowhere")
    write_mat(tmp_path / "LiDAR.mat", a=CUBE, b=CUBE)
    with pytest.raises(MamolError, match=r"modality hsi: no file .* expected one of HSI, x\['y'\]; found LiDAR.mat"):
        read(tmp_path, "HSI", "x:y")
    with pytest.raises(MamolError, match="no variable LiDAR; it has a, b; name one of them"):
        read(tmp_path, "LiDAR")


@pytest.mark.parametrize(
    ("name", "message"),
    [("HSI.mat", "not a readable MATLAB file"), ("HSI.npy", "not a readable .npy"), ("HSI.tif", "readable GeoTIFF")],
)
def test_damaged_files(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"MATLAB 5.0 MAT-file" + bytes(20))
    with pytest.raises(MamolError, match=message):
        read(tmp_path, "HSI")


def test_truncated_mat_file(tmp_path: Path, write_mat: Write) -> None:
    path = write_mat(tmp_path / "HSI.mat", HSI=CUBE)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MamolError, match="not a readable MATLAB file"):
        read(tmp_path, "HSI")


def test_arrays_that_are_not_numbers(tmp_path: Path, write_mat: Write) -> None:
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(MamolError, match="expected real numbers"):
        read(tmp_path, "text")
    write_mat(tmp_path / "HSI.mat", HSI=CUBE * 1j)
    with pytest.raises(MamolError, match="array of real numbers"):
        read(tmp_path, "HSI")
    (tmp_path / "HSI.xyz").write_text("")
    with pytest.raises(MamolError, match="unknown kind of file"):
        read(tmp_path, "HSI.xyz")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
def test_any_order_of_axes_is_recognised_by_the_grid(order: tuple[int, int, int]) -> None:
    raster = as_raster(CUBE.transpose(order), (4, 5), Path("HSI.mat"))
    np.testing.assert_array_equal(raster, CUBE)
    assert raster.flags.c_contiguous


def test_a_band_is_a_raster_of_one_channel_of_its_own_type() -> None:
    raster = as_raster(CUBE[:, :, 0].astype(np.uint16).T, (4, 5), Path("LiDAR.mat"))
    assert raster.shape == (4, 5, 1)
    assert raster.dtype == np.uint16


def test_rasters_that_are_refused() -> None:
    with pytest.raises(MamolError, match=r"HSI.mat: shape \(4, 5, 3\) does not fit .* 4 x 6"):
        as_raster(CUBE, (4, 6), Path("HSI.mat"))
    with pytest.raises(MamolError, match=r"a raster has shape"):
        as_raster(CUBE[0, 0], (4, 5), Path("HSI.mat"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_pixel_that_float32_cannot_hold_is_invalid_in_all_bands(bad: float) -> None:
    broken = CUBE.astype(np.float64)
    broken[3, 1, 2] = bad
    raster = as_raster(broken, (4, 5), Path("HSI.mat"))
    expected = CUBE.copy()
    expected[3, 1] = np.nan
    assert raster.dtype == np.float32
    np.testing.assert_array_equal(raster, expected)


def test_finite_checks_every_slice() -> None:
    tall = np.zeros((100, 2, 2))
    assert not not_finite(tall).any()
    tall[99, 0, 0] = np.nan
    assert np.argwhere(not_finite(tall)).tolist() == [[99, 0]]


@pytest.mark.parametrize("background", [0, -1])
def test_either_background_is_zero(background: int) -> None:
    labels = np.full((3, 4, 1), background, np.int16)
    labels[1] = 2
    found = as_labels(labels.astype(np.float64), Path("gt.mat"))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.where(labels[:, :, 0] == 2, 2, 0))


def test_label_maps_that_are_refused() -> None:
    with pytest.raises(MamolError, match=r"gt.mat: a label map has shape"):
        as_labels(np.zeros((3, 4, 3)), Path("gt.mat"))
    with pytest.raises(MamolError, match="whole numbers"):
        as_labels(np.array([[0.5]]), Path("gt.mat"))
    with pytest.raises(MamolError, match="whole numbers"):
        as_labels(np.array([[np.nan]]), Path("gt.mat"))
    with pytest.raises(MamolError, match="largest label is 65535"):
        as_labels(np.array([[65535]]), Path("gt.mat"))


def test_a_file_that_may_not_be_read(tmp_path: Path, write_mat: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    write_mat(tmp_path / "HSI.mat", HSI=CUBE)
    monkeypatch.setattr(reading, "sha256_of", refuse)
    with pytest.raises(MamolError, match=r"HSI.mat: cannot be read \(Permission denied\)"):
        read(tmp_path, "HSI")


def test_a_scene_of_geotiffs_keeps_its_place(tmp_path: Path) -> None:
    write_tif(tmp_path / "HSI.tif", CUBE)
    write_tif(tmp_path / "All_Label.tif", np.ones((4, 5, 1), np.uint8))
    scene = load_scene("scene", tmp_path)
    assert scene.georeference is not None
    assert scene.georeference.transform[2] == 500000
    np.testing.assert_array_equal(scene.rasters["hsi"], CUBE)
