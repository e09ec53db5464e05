"""Raw folders of the three datasets, and tables made of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.imagetext.prepare import prepare
from tests.data.imagetext.trees import food101_tree, hateful_memes_tree, mmimdb_tree

ITEMS = 20
TREES = {"mmimdb": mmimdb_tree, "food101": food101_tree, "hateful_memes": hateful_memes_tree}


@pytest.fixture
def raw(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the raw folder of a dataset, of 12, 3 and 5 items."""

    def write(dataset: str) -> Path:
        root = tmp_path / dataset
        TREES[dataset](root, ITEMS, 0, 32)
        return root

    return write


@pytest.fixture
def build(tmp_path: Path, raw: Callable[[str], Path]) -> Callable[..., Path]:
    """Makes the tables of a dataset with some options; returns their folder."""

    def make(dataset: str, **options: str) -> Path:
        root, out = tmp_path / dataset, tmp_path / "out"
        prepare(ImageTextOptions(dataset, root if root.exists() else raw(dataset), out, **options))
        return out

    return make
