"""Use and saliency of experts against their definition; which experts stay at a threshold."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamol.core.streams import VISUAL, Trace
from mamol.evaluation.pruned import cut_of
from mamol.evaluation.saliency import Watched, measure, patterns_of, shares, surviving
from mamol.methods.stacked import StackedLoRA
from mamol.network.network import Network
from tests.mixtures import small_tower
from tests.toys import BANDS, shake, toy_batch, toy_network

NAMES = ("hsi", "lidar", "sar")


def shaken(**options: object) -> Network:
    network = toy_network(3, **options)  # type: ignore[arg-type]
    shake(network)
    return network.eval()


def test_norms_are_those_of_each_expert_by_itself() -> None:
    stack = StackedLoRA(3, 16, 2)
    torch.nn.init.normal_(stack.up)
    z = torch.randn(2, 5, 16)
    each = [stack.up[:, e * 2 : e * 2 + 2] @ (stack.down[e * 2 : e * 2 + 2] @ z[..., None]) for e in range(3)]
    wanted = torch.stack([one[..., 0].norm(dim=-1) for one in each], -1)
    torch.testing.assert_close(stack.norms(z), wanted)


def test_norms_are_recorded_only_if_somebody_asks() -> None:
    network, batch = shaken(), toy_batch(m=3)
    plain, asked = Trace(), Trace(norms={})
    network.features(batch, plain)
    network.features(batch, asked)
    assert plain.norms is None
    assert asked.norms is not None
    assert asked.norms[VISUAL].keys() == asked.routing[VISUAL].keys() == {6, 7, 8, 9, 10, 11}
    assert all(found.shape == asked.routing[VISUAL][layer].shape for layer, found in asked.norms[VISUAL].items())


def test_measures_equal_means_over_the_tokens_written_out() -> None:
    network, batch = shaken(experts_dynamic=3, top_k=2), toy_batch(m=3)
    batch["hsi"][1, :, 0] = float("nan")  # holes do not count
    natural = np.ones((6, 3), bool)
    natural[2, 2] = False  # cannot be under patterns with sar
    patterns = patterns_of(NAMES, ("hsi+sar", "hsi"), NAMES)
    parts = [({name: v[s] for name, v in batch.items()}, natural[s]) for s in (slice(0, 4), slice(4, 6))]
    used = measure(network, parts, patterns, shortcut=False)
    assert used["pattern"].unique().tolist() == ["hsi+sar", "hsi"]
    rows = used.query("layer == 8 and pattern == 'hsi+sar' and modality == 'hsi'").set_index("expert")

    able = [0, 1, 3, 4, 5]
    some = {name: value[able] for name, value in batch.items()}
    some["available"] = torch.tensor([[True, False, True]]).expand(5, 3)
    trace = Trace(norms={})
    with torch.inference_mode():
        network.features(some, trace, shortcut=False)
    assert trace.norms is not None
    gates, norms = (each[VISUAL][8][:5] for each in (trace.routing, trace.norms))  # streams of hsi come first
    counted = torch.ones(5, 17, dtype=torch.bool)
    counted[1, 1:5] = False
    assert rows["tokens"].tolist() == [5 * 17 - 4] * 3
    for expert in range(3):
        gate, norm = gates[..., expert][counted], norms[..., expert][counted]
        wanted = [gate.mean(), (gate > 0).float().mean(), (gate * norm).mean()]
        found = rows.loc[expert, ["use", "routed", "saliency"]].to_numpy(float)
        assert found == pytest.approx([float(each) for each in wanted], rel=1e-4, abs=1e-7)


def test_what_is_read_goes_through_the_last_block_alone() -> None:
    used = measure(
        shaken(), [(toy_batch(m=3), np.ones((6, 3), bool))], patterns_of(NAMES, ("sar",), NAMES), shortcut=True
    )
    tokens = used.groupby("layer")["tokens"].first()
    assert tokens.loc[10] == 6 * 17
    assert tokens.loc[11] == 6


def test_tokens_of_one_sequence_are_counted_together() -> None:
    network = shaken(fusion="single_stream")
    used = measure(network, [(toy_batch(m=3), np.ones((6, 3), bool))], patterns_of(NAMES, (), NAMES), shortcut=False)
    assert set(used["modality"]) == {"all"}
    assert used.query("pattern == 'hsi+lidar' and layer == 7 and expert == 0")["tokens"].item() == 6 * (1 + 2 * 16)


def test_a_mixture_is_watched_with_the_norms_of_its_experts() -> None:
    tower = small_tower({name: BANDS[name] for name in NAMES}, top_k=2)
    network = toy_network(3, "baseline", tower=tower)
    network.method = Watched()
    batch = toy_batch(m=3)
    used = measure(
        network.eval(), [(batch, np.ones((6, 3), bool))], patterns_of(NAMES, ("lidar",), NAMES), shortcut=False
    )
    assert used["layer"].unique().tolist() == [2, 3]
    assert used.groupby("layer")["routed"].sum().tolist() == pytest.approx([2, 2])
    trace, zs = Trace(norms={}), []
    mixture = tower.weights.layers[2].feed_forward
    handle = tower.weights.layers[2].norm_2.register_forward_hook(lambda _m, _i, out: zs.append(out))
    with torch.inference_mode():
        network.features(
            {**batch, "available": torch.tensor([[False, True, False]]).expand(6, 3)}, trace, shortcut=False
        )
        handle.remove()
        gates = trace.routing[VISUAL][2]
        wanted = torch.stack([(gates[..., k] * e(zs[0]).norm(dim=-1)).mean() for k, e in enumerate(mixture.experts)])
    found = used.query("layer == 2")["saliency"].to_numpy()
    assert found == pytest.approx(wanted.numpy(), rel=1e-4)


def test_patterns_are_all_of_what_is_kept_or_those_asked_for() -> None:
    found = patterns_of(NAMES, (), ("hsi", "sar"))
    assert [pattern.tolist() for pattern in found] == [[True, False, True], [True, False, False], [False, False, True]]
    (one,) = patterns_of(NAMES, ("sar+hsi",), ("hsi", "sar"))
    assert one.tolist() == [True, False, True]


def table(rows: list[tuple[str, str, list[float]]], layer: int = 4) -> pd.DataFrame:
    flat = [(layer, pattern, modality, k, value) for pattern, modality, own in rows for k, value in enumerate(own)]
    return pd.DataFrame(flat, columns=["layer", "pattern", "modality", "expert", "saliency"])


def test_an_expert_counts_by_its_best_share() -> None:
    used = table(
        [("hsi", "hsi", [3.0, 1.0, 0.0]), ("hsi+sar", "sar", [0.0, 1.0, 9.0]), ("sar", "sar", [0.0, 0.0, 0.0])]
    )
    assert shares(used)[4] == pytest.approx([9 / 4, 3 / 4, 27 / 10])
    scenes = pd.concat([used.assign(scene="a"), table([("hsi", "hsi", [0.0, 1.0, 0.0])]).assign(scene="b")])
    assert shares(scenes)[4] == pytest.approx([9 / 4, 3, 27 / 10])


def test_experts_that_add_nothing_matter_to_nobody() -> None:
    assert shares(table([("hsi", "hsi", [0.0, 0.0])]))[4].tolist() == [0, 0]
    assert surviving(np.zeros(2), 0.0) == (0, 1)
    assert surviving(np.zeros(2), 0.25) == (0,)


SALIENCIES = st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), min_size=1, max_size=4)


@given(SALIENCIES, st.floats(0, 4), st.floats(0, 4))
def test_a_higher_threshold_keeps_a_part_and_at_least_one(rows: list[list[float]], low: float, high: float) -> None:
    low, high = sorted((low, high))
    found = shares(table([(str(i), "hsi", own) for i, own in enumerate(rows)]))
    few, many = (set(cut_of((0,), found, tau).experts[4]) for tau in (high, low))
    assert few
    assert few <= many
    assert cut_of((0,), found, 0.0).experts[4] == (0, 1, 2)
