"""``routing``: shares counted by hand, mutual information against its definition, the command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from mamol.core.errors import MamolError
from mamol.core.streams import VISUAL, Trace
from mamol.evaluation.routing import class_number, information, mutual_information, usage
from mamol.evaluation.trained import Trained
from tests.lines import QUICK, run, trained

CPU = torch.device("cpu")


@pytest.fixture
def used(loaded: Trained) -> pd.DataFrame:
    """Usage of the finished run's experts."""
    return usage(loaded.network, loaded.table, loaded.modalities, CPU, batch=10)


def test_shares_equal_those_of_one_pass_counted_by_hand(loaded: Trained, used: pd.DataFrame) -> None:
    table = loaded.table
    everything = np.arange(len(table))
    batch = {name: torch.from_numpy(table.windows(name, everything)) for name in loaded.modalities}
    batch["available"] = torch.tensor([[True, False, True]] * len(table))
    trace, streams = Trace(), loaded.network.streams(batch)
    with torch.inference_mode():
        loaded.network.features(batch, trace, streams=streams)
    gates = trace.routing[VISUAL][8][streams[VISUAL].modality == 2]
    rows = used.query("layer == 8 and pattern == 'hsi+sar' and modality == 'sar'")
    assert rows["expert"].tolist() == [0, 1]
    assert rows["tokens"].tolist() == [36 * 17] * 2
    share = (gates.sum((0, 1)) / gates.sum()).numpy()
    assert rows["gate_share"].to_numpy() == pytest.approx(share, abs=1e-5)
    first = [(gates.argmax(-1) == k).float().mean().item() for k in (0, 1)]
    assert rows["top1_share"].to_numpy() == pytest.approx(first, abs=1e-6)


def test_every_layer_pattern_and_modality_is_there_and_shares_sum_to_one(used: pd.DataFrame) -> None:
    assert used["layer"].unique().tolist() == [6, 7, 8, 9, 10, 11]
    assert used["pattern"].nunique() == 7
    streams = used.groupby(["layer", "pattern"])["modality"].unique()
    assert all(set(names) == {"all", *pattern.split("+")} for (_, pattern), names in streams.items())
    sums = used.groupby(["layer", "pattern", "modality"])[["gate_share", "top1_share"]].sum()
    assert sums.to_numpy() == pytest.approx(1)
    assert (used.loc[used["modality"] == "hsi", "tokens"] == 36 * 17).all(), "all tokens, in the last block, too"


def test_the_last_block_is_counted_as_the_features_saw_it(loaded: Trained, used: pd.DataFrame) -> None:
    """The class token's route of the short way is among those that are counted, and the features are the same."""
    everything = np.arange(len(loaded.table))
    batch = {name: torch.from_numpy(loaded.table.windows(name, everything)) for name in loaded.modalities}
    batch["available"] = torch.tensor([[True, False, True]] * len(loaded.table))
    short, whole = Trace(), Trace()
    with torch.inference_mode():
        features, _ = loaded.network.features(batch, short)
        of_all, _ = loaded.network.features(batch, whole, shortcut=False)
    one, every = (trace.routing[VISUAL][11] for trace in (short, whole))
    assert (one.shape[1], every.shape[1]) == (1, 17)
    torch.testing.assert_close(every[:, :1], one)
    for name, feature in features.items():
        torch.testing.assert_close(of_all[name], feature, rtol=1e-4, atol=1e-5)
    rows = used.query("layer == 11 and pattern == 'hsi+sar' and modality == 'all'")
    first = [(every.argmax(-1) == k).float().mean().item() for k in (0, 1)]
    assert rows["top1_share"].to_numpy() == pytest.approx(first, abs=1e-6)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000))
def test_mutual_information_is_the_loss_of_entropy(patterns: int, experts: int, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(experts, 0.3), patterns)
    expected = entropy(shares.mean(0), base=2) - entropy(shares, base=2, axis=1).mean()
    assert mutual_information(shares) == pytest.approx(expected, abs=1e-9)


def test_information_tells_routing_by_pattern_from_routing_by_modality() -> None:
    keys = ["layer", "pattern", "modality", "expert"]
    by_modality = [("hsi", "hsi", 0), ("lidar", "lidar", 1), ("hsi+lidar", "hsi", 0), ("hsi+lidar", "lidar", 1)]
    rows = [(6, p, m, e, float(e == chosen)) for p, m, chosen in by_modality for e in (0, 1)]
    together = {"hsi": (1.0, 0.0), "lidar": (0.0, 1.0), "hsi+lidar": (0.5, 0.5)}
    rows += [(6, p, "all", e, share) for p, shares in together.items() for e, share in enumerate(shares)]
    (row,) = information(pd.DataFrame(rows, columns=[*keys, "top1_share"])).to_dict("records")
    nats = pytest.approx(np.log(2))  # of the one pattern with both
    assert row == {"layer": 6, "bits": pytest.approx(2 / 3), "within_modality": 0, "modality_nats": nats}
    assert mutual_information(np.eye(2)) == 1


def test_without_streams_of_their_own_modalities_are_not_told_apart() -> None:
    keys = ["layer", "pattern", "modality", "expert", "top1_share"]
    one_sequence = pd.DataFrame([(6, p, "all", int(p == "sar"), 1.0) for p in ("hsi", "sar")], columns=keys)
    one_sequence = one_sequence.pivot(index=keys[:3], columns="expert", values="top1_share").fillna(0).stack()
    (row,) = information(one_sequence.rename("top1_share").reset_index()).to_dict("records")
    assert row["bits"] == 1
    assert np.isnan(row["within_modality"])
    assert np.isnan(row["modality_nats"])


@pytest.mark.usefixtures("figures")
def test_the_command_writes_table_and_picture(finished_run: Path, table_folder: Path) -> None:
    arguments = ["routing", "with", *QUICK, f"load_path={finished_run}", f"data_root={table_folder}"]
    result = run(*arguments)
    assert result.returncode == 0, result.stderr[-1500:]
    folder = Path(result.stdout.splitlines()[-1])
    assert folder == finished_run / "routing"
    assert "random frozen weights" in result.stdout
    assert pd.read_csv(folder / "information.csv").columns.tolist() == [
        "layer",
        "bits",
        "within_modality",
        "modality_nats",
    ]
    whole = pd.read_csv(folder / "usage.csv")
    one = Path(run(*arguments, "routing_class=Roads").stdout.splitlines()[-1])
    assert one == folder / "class_6_roads"
    assert (one / "experts.png").stat().st_size > 10_000
    assert pd.read_csv(one / "usage.csv")["tokens"].sum() * 6 == whole["tokens"].sum()
    assert run(*arguments, "routing_class=6").stdout.splitlines()[-1] == str(one)


def test_class_numbers_count_from_one_and_names_come_first() -> None:
    assert class_number("", ["a", "b"]) is None
    assert class_number(2, ["a", "b"]) == 1
    assert class_number("B", ["a", "b"]) == 1
    assert class_number("2", ["2", "1"]) == 0
    with pytest.raises(MamolError, match="routing_class=3: the table has no such class; give a number from 1 to 2, or"):
        class_number(3, ["a", "b"])


def test_a_method_without_routers_is_told(table_folder: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, f"data_root={table_folder}", "method=baseline", "max_epoch=1", "limit_batches=1")
    result = run("routing", "with", *QUICK, f"load_path={folder}", f"data_root={table_folder}")
    assert result.returncode == 1
    assert "error: method=baseline has no routers" in result.stderr
    assert not (folder / "routing").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data_root={table}"], "routing needs load_path=<checkpoint or run folder>"),
        (["data_root={table}", "load_path={run}", "routing_class=0"], "routing_class=0 must be a class name"),
        (["data_root={table}", "load_path={run}", "routing_class=7"], "give a number from 1 to 6, or one of water"),
    ],
)
def test_routing_mistakes(arguments: list[str], message: str, finished_run: Path, table_folder: Path) -> None:
    result = run("routing", "with", *QUICK, *[a.format(run=finished_run, table=table_folder) for a in arguments])
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
