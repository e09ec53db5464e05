"""The parameter report, against counts by hand and the release's own."""

import pytest

from mamol.core.settings import Settings
from mamol.network.parameters import count, report
from tests.lines import run
from tests.toys import toy_network


def test_parts_add_up() -> None:
    network = toy_network(3)
    numbers = count(network)
    width, m, rank, blocks = network.tower.width, 3, 8, 6
    router = (width + 8) * width // 2 + width // 2 + 2 * (width // 2) + 2
    assert numbers["routers"] == blocks * router + 8 * m + 8
    assert numbers["experts"] == blocks * 2 * (2 + 1 + m) * rank * width
    assert numbers["head"] == 3 * (m * network.tower.output_dim) + 3
    assert numbers["embedding"] == sum(9 * c * 256 + 256 * width for c in (5, 1, 2))
    assert numbers["trainable"] == sum(numbers[k] for k in ("embedding", "routers", "experts", "head"))
    assert numbers["total"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("change", "trainable"),
    [({}, 2_906_163), ({"method": "released"}, 6_449_723), ({"method": "linear_probe"}, 15_375)],
)
def test_vit_b_16_on_houston(change: dict[str, str], trainable: int) -> None:
    text = report(Settings.of(change))
    lines = {line.split()[0]: line.split()[1].replace(",", "") for line in text.splitlines()[1:]}
    assert int(lines["trainable"]) == trainable
    assert "hsi 144, lidar 1, 15 classes (published sizes of houston2013)" in text


def test_the_command_reads_the_table(table_folder: object) -> None:
    result = run("params", "with", "remote", "backbone=tiny", f"data_root={table_folder}", "modalities=sar,hsi")
    assert "sar 2, hsi 48, 6 classes" in result.stdout
