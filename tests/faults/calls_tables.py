"""Wrong calls of make_arrow.py, and wrong scene files; see ``tests.faults.calls``."""

from typing import Any

from tests.faults.calls import call

TABLES = [
    call(
        "make_arrow",
        "--dataset nothing --root {scene} --out {out}",
        "dataset 'nothing' is unknown; known: houston2013, trento, augsburg, muufl, berlin,",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root nowhere --out {out}",
        "root nowhere: no such folder; give the folder with the raw files of the scene",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {table} --out {out}",
        "modality hsi: no file for it in {table}; expected one of HSI, HSI_data, data_HS_LR; found",
    ),
    call("make_arrow", "--dataset synthetic --root {table}/train.arrow --out {out}", "train.arrow"),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --layout rows",
        "layout 'rows' is unknown; known: patches, scene",
    ),
    call(
        "make_arrow", "--dataset synthetic --root {scene} --out {out} --patch-size 0", "patch-size 0: expected 1 to 256"
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --patch-size x",
        "argument --patch-size: invalid int value: 'x'",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --protocol odd",
        "protocol 'odd' is unknown; known: disjoint, paper, official, blocks, polygons, scenes",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --protocol official",
        "protocol official: there are no training and test label maps (such as TRLabel.mat,",
        "add them, name them in a scene.json, or use --protocol disjoint",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --protocol polygons",
        "protocol polygons: the labels are no polygons; name a GeoPackage, GeoJSON or Shapefile in",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --protocol scenes",
        "protocol scenes: there is one scene, and one to train and one to test are needed; give a",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --modalities hsi,ms",
        "modality ms: no file for it in {scene}; expected one of MSI, MS, MS_data, data_MS_HR;",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --modalities hsi,",
        "modality '': a name has letters, digits and '_' only ('+' joins names); rename it",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --train-per-class 0",
        "train-per-class 0: expected 1 or more",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --train-per-class few",
        "train-per-class 'few': expected a whole number or 'all'",
    ),
    call("make_arrow", "--dataset synthetic --root {scene} --out {out} --seed -3", "seed -3: expected 0 or more"),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --min-valid 2",
        "min-valid 2.0: expected a share above 0 and at most 1, such as 0.5",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --min-valid nan",
        "min-valid nan: expected a share above 0 and at most 1, such as 0.5",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --margin -1",
        "margin -1: expected 0 to 256 pixels",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --plots all",
        "--plots: not for dataset synthetic, which takes --layout, --margin, --min-valid,",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --tile 8",
        "tile 8: goes with --task segmentation; --patch-size is the side of windows",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --task regression",
        "task 'regression' is unknown; known: classes, segmentation",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --task segmentation --tile 0",
        "tile 0: expected 2 to 256",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --task segmentation --patch-size 4",
        "patch-size 4: --task segmentation has tiles; give their side with --tile",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --task segmentation --shares 1,1",
        "shares 1,1: expected those of train, val and test, which add up to 1, such as 0.6,0.1,0.3",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --task segmentation --shares a,b,c",
        "argument --shares: invalid _shares value: 'a,b,c'",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --scene none.json",
        "scene none.json: only --dataset scene takes a scene.json, not synthetic",
    ),
    call(
        "make_arrow",
        "--dataset scene --root {scene} --out {out} --scene none.json",
        "scene none.json: cannot be read (No such file or directory); give the path of a scene.json",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --plugins nowhere.py",
        "plugins=nowhere.py: there is no such Python file; give a .py that registers something",
    ),
    call(
        "make_arrow",
        "--dataset synthetic --root {scene} --out {out} --unknown 1",
        "unrecognized arguments: --unknown 1",
    ),
    call("make_arrow", "--dataset synthetic", "the following arguments are required: --root, --out"),
    call(
        "make_arrow",
        "--dataset mmimdb --root {scene} --out {out}",
        "root {scene}: files missing: split.json; complete the folder from the release of MM-IMDb",
    ),
    call(
        "make_arrow",
        "--dataset mmimdb --root nowhere --out {out}",
        "root nowhere: no such folder; give the folder of the raw files",
    ),
    call(
        "make_arrow",
        "--dataset mmimdb --root {scene} --out {out} --patch-size 4",
        "--patch-size: not for dataset mmimdb, which takes --broken-images, --plots",
    ),
    call(
        "make_arrow",
        "--dataset mmimdb --root {scene} --out {out} --plots none",
        "plots 'none' is unknown; known: first, all, longest",
    ),
    call(
        "make_arrow",
        "--dataset food101 --root {scene} --out {out} --without-text maybe",
        "without-text 'maybe' is unknown; known: drop, keep",
    ),
    call(
        "make_arrow",
        "--dataset hatememes --root {scene} --out {out}",
        "root {scene}: files missing: train.jsonl, dev.jsonl, test_seen.jsonl; complete the folder",
    ),
    call(
        "make_arrow",
        "--dataset hateful_memes --root {scene} --out {out} --test-file x.jsonl",
        "test-file 'x.jsonl' is unknown; known: test_seen.jsonl, test_unseen.jsonl, test.jsonl",
    ),
    call(
        "make_arrow",
        "--dataset food101 --root {scene} --out {out} --broken-images skip",
        "broken-images 'skip' is unknown; known: refuse, drop",
    ),
    call("make_arrow", "--dataset synthetic --root {scene} --out {table}/train.arrow", "train.arrow"),
]

GOOD: dict[str, Any] = {
    "name": "own",
    "modalities": {"hsi": {"file": "HSI.mat"}, "lidar": {"file": "LiDAR.mat"}},
    "labels": {"file": "All_label.mat"},
    "classes": ["a", "b", "c", "d", "e", "f"],
}
SCENES: list[tuple[str | dict[str, Any], tuple[str, ...]]] = [
    ("", ()),
    ("[]", ()),
    ("{", ()),
    ({"modalities": {}}, ("modalities",)),
    ({"modalities": 3}, ("modalities",)),
    ({"modalities": {"hsi": {"file": "none.mat"}}}, ("none.mat",)),
    ({"modalities": {"label": {"file": "HSI.mat"}}}, ("label",)),
    ({"modalities": {"hsi": {"file": 3}}}, ("hsi",)),
    ({"modalities": {"hsi": {"flie": "HSI.mat"}}}, ("flie",)),
    ({"labels": 3}, ("labels",)),
    ({"labels": {"file": "none.mat"}}, ("none.mat",)),
    ({"classes": 3}, ("classes",)),
    ({"classes": ["a", "a", "c", "d", "e", "f"]}, ("classes",)),
    ({"name": 3}, ("name",)),
    ({"colour": "red"}, ("colour",)),
]
"""Contents of a scene.json: a text, or what is other than in ``GOOD``; and parts of the message beside its name."""
