import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mamol.core.errors import MamolError
from mamol.data.facts import DATASETS, ArrayFile
from mamol.data.scenes import load_scene

Write = Callable[..., Path]
Arrays = dict[str, np.ndarray]


def write_scene_json(path: Path, **content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_readme_layout(tiny_root: Path, tiny_arrays: Arrays) -> None:
    scene = load_scene("synthetic", tiny_root, modalities=["HS", "sar", "DSM"])
    assert scene.channels == {"hsi": 5, "sar": 2, "lidar": 1}
    assert (scene.height, scene.width) == (40, 50)
    np.testing.assert_array_equal(scene.rasters["hsi"], tiny_arrays["HSI"])
    assert scene.rasters["hsi"].dtype == np.uint16
    np.testing.assert_array_equal(scene.labels, tiny_arrays["All_label"])
    assert set(scene.sources) == {"HSI.mat", "SAR.mat", "LiDAR.mat", "All_label.mat"}


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "scene"])
def test_every_dataset_reads_readme_and_release_layout(
    dataset: str, tmp_path: Path, tiny_arrays: Arrays, write_mat: Write
) -> None:
    facts = DATASETS[dataset]
    names = {"hsi": ("HSI", "HSI_data"), "lidar": ("LiDAR", "LiDAR_data"), "sar": ("SAR", "SAR_data")}
    for modality in facts.default_modalities:
        for layout, name in zip(("readme", "release"), names[modality], strict=True):
            write_mat(tmp_path / layout / f"{name}.mat", **{name: tiny_arrays[names[modality][0]]})
    write_mat(tmp_path / "readme" / "All_label.mat", All_label=tiny_arrays["All_label"])
    write_mat(tmp_path / "release" / "ALL_LABEL.mat", All_Label=tiny_arrays["All_label"])
    for layout in ("readme", "release"):
        scene = load_scene(dataset, tmp_path / layout)
        assert tuple(scene.rasters) == facts.default_modalities
        np.testing.assert_array_equal(scene.labels, tiny_arrays["All_label"])
        assert scene.classes == ("class 1", "class 2", "class 3")


def every_place() -> list[Any]:
    cases = []
    for dataset, facts in DATASETS.items():
        for kind, places in (*facts.modalities.items(), ("labels", facts.labels)):
            cases += [pytest.param(dataset, kind, place, id=f"{dataset}-{kind}-{place.file}") for place in places]
    return [case for case in cases if "." not in (case.values[2].variable or "")]  # structs: test_reading


@pytest.mark.parametrize(("dataset", "kind", "place"), every_place())
def test_every_release_named_in_the_facts_is_found(
    dataset: str, kind: str, place: ArrayFile, tmp_path: Path, tiny_arrays: Arrays, write_mat: Write
) -> None:
    facts = DATASETS[dataset]
    modality = kind if kind != "labels" else (facts.default_modalities or ("hsi",))[0]
    raster, label = tiny_arrays["SAR"][:16, :16], tiny_arrays["All_label"][:16, 10:26] + 1
    variable = place.variable or place.file
    if not variable.isidentifier():
        variable = "v"  # MATLAB has no such names; such files hold one array
    array = label if kind == "labels" else raster
    write_mat(
        tmp_path / f"{place.file}.mat", **{variable: array, "extra": np.zeros(2)} if variable != "v" else {"v": array}
    )
    if kind == "labels":
        write_mat(tmp_path / "HSI.mat", HSI=raster)
    else:
        write_mat(tmp_path / "All_label.mat", All_label=label)
    scene = load_scene(dataset, tmp_path, modalities=[modality])
    np.testing.assert_array_equal(scene.rasters[modality], raster)
    np.testing.assert_array_equal(scene.labels, label)


def test_transposed_release_is_recognised_by_the_label_map(
    tmp_path: Path, tiny_arrays: Arrays, write_mat: Write
) -> None:
    write_mat(tmp_path / "HSI.mat", HSI=tiny_arrays["HSI"].transpose(1, 0, 2))
    write_mat(tmp_path / "LiDAR.mat", LiDAR=tiny_arrays["LiDAR"])
    write_mat(tmp_path / "All_label.mat", All_label=tiny_arrays["All_label"])
    write_mat(tmp_path / "TRLabel.mat", TRLabel=tiny_arrays["All_label"].T)
    scene = load_scene("trento", tmp_path)
    np.testing.assert_array_equal(scene.rasters["hsi"], tiny_arrays["HSI"])
    np.testing.assert_array_equal(scene.train_labels, tiny_arrays["All_label"])


def test_two_official_maps_make_the_map_of_all(tiny_root: Path, tiny_arrays: Arrays, write_mat: Write) -> None:
    (tiny_root / "All_label.mat").unlink()
    labels = tiny_arrays["All_label"].astype(np.int16)
    left = np.arange(50) < 25
    write_mat(tiny_root / "TrainImage.mat", TrainImage=np.where(left, labels, -1))
    with pytest.raises(MamolError, match="only one of the training and test label maps is there; add the other"):
        load_scene("trento", tiny_root)
    write_mat(tiny_root / "TestImage.mat", TestImage=np.where(left, -1, labels))
    scene = load_scene("trento", tiny_root)
    np.testing.assert_array_equal(scene.labels, labels)
    np.testing.assert_array_equal(scene.train_labels, np.where(left, labels, 0))
    np.testing.assert_array_equal(scene.test_labels, np.where(left, 0, labels))


def test_index_files_list_the_official_pixels(tiny_root: Path, tiny_arrays: Arrays, write_mat: Write) -> None:
    labels = tiny_arrays["All_label"]
    pixels = np.argwhere(labels > 0)
    write_mat(tiny_root / "trento_index.mat", trento_train=pixels[:200], trento_test=pixels[200:], trento_all=pixels)
    scene = load_scene("trento", tiny_root)
    expected = np.zeros_like(labels)
    expected[tuple(pixels[:200].T)] = labels[tuple(pixels[:200].T)]
    np.testing.assert_array_equal(scene.train_labels, expected)
    np.testing.assert_array_equal(scene.test_labels, np.where(expected > 0, 0, labels))
    write_mat(tiny_root / "trento_index.mat", trento_train=pixels + 40, trento_test=pixels)
    with pytest.raises(MamolError, match=r"expected \(n, 2\) rows and columns from 0 inside 40 x 50"):
        load_scene("trento", tiny_root)


def test_scene_json_beside_or_apart_or_as_root(tiny_root: Path, tmp_path: Path) -> None:
    content = {
        "name": "campus",
        "modalities": {"HSI": {"file": "HSI.mat"}, "thermal": {"file": "SAR.mat", "variable": "SAR"}},
        "labels": {"file": "All_label.mat"},
        "classes": ["a", "b", "c"],
        "note": "made up",
    }
    apart = write_scene_json(tmp_path / "scene.json", **content)
    beside = write_scene_json(tiny_root / "scene.json", **content)
    for scene in (
        load_scene("scene", tiny_root, scene_file=apart),
        load_scene("scene", tiny_root),
        load_scene("scene", beside),
        load_scene("trento", beside),
    ):
        assert (scene.name, scene.classes, scene.channels) == ("campus", ("a", "b", "c"), {"hsi": 5, "thermal": 2})
        assert scene.facts.note == "made up"


def test_a_known_dataset_says_that_a_scene_json_is_not_read(tiny_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tiny_root / "scene.json").write_text("{}")
    assert load_scene("trento", tiny_root).name == "trento"
    told = [record.getMessage() for record in caplog.records if "scene.json" in record.getMessage()]
    assert told == [
        f"{tiny_root / 'scene.json'}: not read, as dataset trento is described in the program; --dataset scene builds "
        "tables by the file"
    ]


def test_a_folder_with_common_names_needs_no_scene_json(tiny_root: Path) -> None:
    scene = load_scene("scene", tiny_root)
    assert (scene.name, list(scene.rasters)) == ("raw", ["hsi", "lidar", "sar"])
    assert scene.classes == ("class 1", "class 2", "class 3")
    (tiny_root / "meta.json").write_text(json.dumps({"classes": {"1": "x", "2": "y", "3": "z"}}))
    assert load_scene("scene", tiny_root).classes == ("x", "y", "z")


def test_class_names_of_a_meta_json_in_another_order_are_not_used(
    tiny_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny_root / "meta.json").write_text(json.dumps({"classes": {"2": "x", "1": "y", "3": "z"}}))
    assert load_scene("scene", tiny_root).classes == ("class 1", "class 2", "class 3")
    assert "not names in label order" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected one JSON object"),
        ("{", "not valid JSON"),
        ('{"modality": 1}', "unknown key modality; known are name, modalities"),
        ("{}", "modalities is None; expected"),
        ('{"modalities": {"hsi": "HSI.mat"}}', "modalities.hsi is 'HSI.mat'; expected"),
        ('{"modalities": {"hsi": {"file": "HSI.mat", "var": "x"}}}', "modalities.hsi is"),
        ('{"modalities": {"hsi": {"file": "HSI.mat"}}, "classes": "abc"}', "classes is 'abc'; expected a list"),
        ('{"modalities": {"hsi": {"file": "HSI.mat"}}, "classes": ["a", "a"]}', "classes has a name twice"),
        ('{"modalities": {"hsi": {"file": "HSI.mat"}}, "name": 3}', "name is 3; expected text"),
        ('{"modalities": {"hsi": {"file": "HSI.mat"}}}', "label map: no file for it"),
    ],
)
def test_mistakes_in_a_scene_json(tiny_root: Path, content: str, message: str) -> None:
    (tiny_root / "scene.json").write_text(content)
    with pytest.raises(MamolError, match=message):
        load_scene("scene", tiny_root)


def test_a_scene_json_that_is_not_there(tiny_root: Path) -> None:
    with pytest.raises(MamolError, match="cannot be read"):
        load_scene("scene", tiny_root, scene_file=tiny_root / "none.json")
    with pytest.raises(MamolError, match="only --dataset scene takes"):
        load_scene("trento", tiny_root, scene_file=tiny_root / "none.json")


def test_modalities_that_are_not_there(tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(MamolError, match="modalities: trento has no ms; it has hsi, lidar, sar"):
        load_scene("trento", tiny_root, modalities=["hsi", "ms"])
    (tiny_root / "SAR.mat").unlink()
    with pytest.raises(MamolError, match=r"modality sar: no file .* expected one of SAR, SAR_data"):
        load_scene("trento", tiny_root, modalities=["sar"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MamolError, match="no raster under a common name"):
        load_scene("scene", tmp_path / "empty")


def test_shapes_that_disagree(tiny_root: Path, tiny_arrays: Arrays, write_mat: Write) -> None:
    write_mat(tiny_root / "TRLabel.mat", TRLabel=tiny_arrays["All_label"][1:])
    with pytest.raises(MamolError, match="training label map is 39 x 50, the label map 40 x 50"):
        load_scene("trento", tiny_root)
    write_mat(tiny_root / "TRLabel.mat", TRLabel=np.full((40, 50), 9))
    with pytest.raises(MamolError, match="training label map goes up to 9, the label map up to 3"):
        load_scene("trento", tiny_root)
    (tiny_root / "TRLabel.mat").unlink()
    write_mat(tiny_root / "LiDAR.mat", LiDAR=tiny_arrays["LiDAR"][:, 1:])
    with pytest.raises(MamolError, match=re.escape("LiDAR.mat: shape (40, 49) does not fit")):
        load_scene("trento", tiny_root)


def test_labels_that_are_missing_empty_or_have_gaps(
    tiny_root: Path, tiny_arrays: Arrays, write_mat: Write, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tiny_arrays["All_label"]
    write_mat(tiny_root / "All_label.mat", All_label=np.where(labels == 3, 6, labels))
    with pytest.raises(MamolError, match="no pixel is labelled Ground, Woods, Vineyard, although labels go up to 6"):
        load_scene("trento", tiny_root)
    write_mat(tiny_root / "All_label.mat", All_label=labels * 0)
    with pytest.raises(MamolError, match="no labelled pixel"):
        load_scene("trento", tiny_root)
    assert load_scene("trento", tiny_root, need_labels=False).classes == DATASETS["trento"].classes
    (tiny_root / "All_label.mat").unlink()
    with pytest.raises(MamolError, match="label map: no file for it"):
        load_scene("trento", tiny_root)
    scene = load_scene("trento", tiny_root, need_labels=False)
    assert scene.labels is None
    assert (scene.height, scene.width) == (40, 50)


def test_differences_from_the_published_facts_are_said(tiny_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_scene("trento", tiny_root)
    assert "6 class names are known, the largest label is 3" in caplog.text
    assert "hsi has 5 bands, the known releases have 63" in caplog.text
    assert "labelled pixels per class are" in caplog.text
