"""The Lightning module of a toy network, on a real table."""

from pathlib import Path

import pytest

from mamol.core.groups import TrainingSettings
from mamol.core.modality import Modality
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL
from mamol.data.datamodules import MultimodalData
from mamol.network.network import Network
from mamol.training.module import Classifier
from tests.toys import GRID, tiny_tower


def classifier_of(
    table_folder: Path, method: str = "mamol", *, compensate: bool = False, **options: object
) -> Classifier:
    """An untrained network for the modalities and classes of a table, with what trains it."""
    data = MultimodalData(table_folder, batch_size=8)
    modalities: tuple[Modality, ...] = data.info.inputs
    own = {"compensate": compensate}
    spec = NetworkSpec("tiny", method, modalities, data.info.classes, GRID, options, options=own)
    return Classifier(Network(spec, {VISUAL: tiny_tower()}), TrainingSettings(), data)


@pytest.fixture
def classifier(table_folder: Path) -> Classifier:
    return classifier_of(table_folder)
