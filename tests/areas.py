"""Folders of several small scenes, as tests need them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

Scenes = dict[str, dict[str, Any]]
CLASSES = ("water", "crop", "tree")


def write_scene(folder: Path, seed: int, shape: tuple[int, int], labels: np.ndarray | None = None, **said: Any) -> Path:
    """Writes a scene of two sensors, ``hsi`` with three bands and ``sar`` with one.

    Args:
        folder: Where; it is called like this.
        seed: Of its values.
        shape: Height and width.
        labels: (H, W); None: stripes of three classes.
        said: Other entries of scene.json.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    stripes = np.repeat(np.arange(1, 4), -(-shape[1] // 3))[None, : shape[1]].repeat(shape[0], axis=0)
    np.save(folder / "hsi.npy", rng.normal(size=(*shape, 3)).astype(np.float32))
    np.save(folder / "sar.npy", rng.integers(0, 200, (*shape, 1)).astype(np.uint8))
    np.save(folder / "gt.npy", stripes if labels is None else labels)
    modalities = {"hsi": {"file": "hsi.npy"}, "sar": {"file": "sar.npy"}}
    described = {"modalities": modalities, "labels": {"file": "gt.npy"}, "classes": list(CLASSES)} | said
    content = {key: value for key, value in described.items() if value is not None}
    (folder / "scene.json").write_text(json.dumps(content))
    return folder


def write_area(root: Path, seed: int = 0) -> Path:
    """Writes four scenes of different sizes: ``east`` without trees, ``north`` with a cloud, ``south`` and ``west``.

    Args:
        root: Their folder.
        seed: Of their values.
    """
    trees = np.repeat([[1, 2]], 12, axis=0).repeat(10, axis=1)
    write_scene(root / "east", seed, (12, 20), trees, note="a test")
    north = write_scene(root / "north", seed + 1, (18, 15))
    hsi = np.load(north / "hsi.npy")
    hsi[2:9, 3:12] = np.nan
    np.save(north / "hsi.npy", hsi)
    write_scene(root / "south", seed + 2, (9, 33))
    write_scene(root / "west", seed + 3, (16, 17))
    return root


def listed(root: Path, scenes: Any, **more: Any) -> Path:
    """Writes the scene.json of an area.

    Args:
        root: Its folder.
        scenes: What it lists.
        more: Other entries.
    """
    (root / "scene.json").write_text(json.dumps({"scenes": scenes} | more))
    return root


def with_file(root: Path, name: str, /, **said: Any) -> None:
    """Says something else in the scene.json of a scene.

    Args:
        root: Folder of the area.
        name: Of the scene.
        said: Entries; None: leave it out.
    """
    path = root / name / "scene.json"
    content = {key: value for key, value in (json.loads(path.read_text()) | said).items() if value is not None}
    path.write_text(json.dumps(content))
