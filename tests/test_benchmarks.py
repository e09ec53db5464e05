"""The references of the benchmarks compute what they stand for, and the harness reports what it measured."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

import benchmarks.__main__ as program
from benchmarks import cost, encoder, gpu, harness, loading, memory, report, step
from benchmarks.harness import Figure
from benchmarks.plain import PlainNetwork, no_output
from benchmarks.workload import BATCH_OF_8, both_missing
from mamol.core.errors import MamolError
from mamol.data.scenetable import SceneTable
from tests.toys import shake, toy_batch, toy_network


@pytest.mark.parametrize("m", [1, 2, 3])
def test_plain_form_without_output_projection_is_our_network(m: int) -> None:
    network, batch = toy_network(m), toy_batch(m=m)
    shake(network)
    plain = PlainNetwork(network, no_output)
    ours, _ = network(batch)
    torch.testing.assert_close(plain(batch), ours, atol=1e-5, rtol=1e-5)
    for logits in (plain(batch), ours):
        functional.cross_entropy(logits, batch["label"]).backward()
    for mine, theirs in zip(network.embedding.parameters(), plain.embedding.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, mine.grad, atol=1e-5, rtol=1e-4)


def test_plain_form_with_the_release_s_output_is_another_network() -> None:
    network, batch = toy_network(), toy_batch()
    shake(network)
    torch.manual_seed(0)
    assert not torch.allclose(PlainNetwork(network)(batch), network(batch)[0], atol=1e-3)


def test_plain_form_shares_the_tower_and_copies_the_rest() -> None:
    network = toy_network()
    plain = PlainNetwork(network)
    ours = {p.data_ptr() for p in network.parameters() if p.requires_grad}
    assert plain.tower is network.tower
    assert ours.isdisjoint(p.data_ptr() for p in plain.parameters())


def test_plain_form_refuses_a_network_without_one_of_its_experts() -> None:
    with pytest.raises(ValueError, match="dynamic, shared and modality experts"):
        PlainNetwork(toy_network(shared_expert=False))


def test_batches_have_the_missing_patterns_they_say() -> None:
    assert sum(sum(sample) for sample in BATCH_OF_8) == 11
    patterns = both_missing(20, 0.7)
    assert [patterns.count(p) for p in ((False, True), (True, False), (True, True))] == [7, 7, 6]
    assert both_missing(10, 0.1).count((False, True)) == 1


def test_alternation_times_every_candidate_in_every_round_and_turns_the_order() -> None:
    called: list[str] = []
    seconds = harness.alternate({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert called == ["a", "b", "a", "b", "b", "a", "a", "b"]  # the first two are not timed
    assert [len(each) for each in seconds.values()] == [3, 3]


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert harness.ratio({"ours": [1, 9, 2], "plain": [2, 9, 8]}, "ours", "plain") == 0.5


@pytest.mark.parametrize(
    ("value", "missed"), [(0.62, False), (0.64, True), (None, False)], ids=["reached", "missed", "not measured"]
)
def test_a_target_is_missed_only_by_a_measured_figure(value: float | None, missed: bool) -> None:
    figure = Figure("training step", value, against="plain", at_most=0.63)
    assert figure.missed is missed
    assert ("MISSED" in report.line(figure)) is missed
    assert Figure("line", 0.9, at_least=0.95).missed


def test_time_benchmarks_run_on_the_tiny_tower() -> None:
    figures = step.run("tiny", rounds=1) + encoder.run("tiny", rounds=1)
    assert len({figure.name for figure in figures}) == 4
    assert all(figure.value is not None and figure.value > 0 for figure in figures)


def test_nested_lists_are_the_release_s_types_and_decode_to_the_same_batch(tmp_path: Path) -> None:
    table = SceneTable.open(loading.write_table(tmp_path))
    nested = pa.ipc.open_file(loading.write_nested(table, tmp_path / "nested.arrow")).read_all()
    assert nested.schema.field("hsi").type == pa.list_(pa.list_(pa.list_(pa.float64())))
    chosen = np.array([5, 0, 255])
    for ours, theirs in zip(loading.gather(table, chosen), loading.decode(nested, chosen), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not memory.STATUS.is_file(), reason="memory is read from /proc of Linux")
def test_memory_is_that_of_the_step_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before, peak = memory._measured("tiny", 0.7)
    assert 0 < before < peak
    monkeypatch.setattr(memory, "_measured", lambda backbone, rate: (2**30, 2**30 * (3 if rate else 5)))
    (figure,) = memory.run()
    assert figure.value == 0.5
    assert "2.00 GB with 26 streams against 4.00 GB with 40; whole processes 3.00 GB against 5.00 GB" in figure.note


def test_memory_is_not_measured_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere"))
    assert "not measured" in report.line(memory.run()[0])


def test_gpu_benchmark_says_when_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (figure,) = gpu.run()
    assert "no GPU here: not measured" in report.line(figure)
    assert figure.value is None


def test_gpu_benchmark_measures_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)  # compiling takes a minute
    monkeypatch.setattr(gpu, "STEPS", 1)
    figures = gpu.measure(torch.device("cpu"), "tiny", samples=2, rounds=1, matrix=64)
    assert [figure.unit for figure in figures] == ["×", "×", "/s", "×"]
    figures += [
        gpu.adapter(torch.device("cpu"), "tiny", samples=2, rounds=1),
        gpu.dense_map(torch.device("cpu"), side=28, backbone="tiny"),
    ]
    assert all(figure.value is not None and figure.value > 0 for figure in figures)


@pytest.mark.usefixtures("figures")
def test_page_and_plot_are_written_from_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(cost, "RATES", [0.0, 0.5, 1.0])
    monkeypatch.setattr(program, "BENCHMARKS", {"cost": lambda: cost.run(rounds=1, samples=2), "gpu": gpu.run})
    results = tmp_path / "results.json"
    assert program.main(["--json", str(results)]) == 0
    assert program.main(["--write-docs", str(results)]) == 0
    with (tmp_path / "docs" / "PERFORMANCE.md").open("a") as page_by_hand:
        page_by_hand.write("\n## Start-up\n\nBy hand.\n")
    assert program.main(["--write-docs", str(results)]) == 0
    run = json.loads(results.read_text())
    page = (tmp_path / "docs" / "PERFORMANCE.md").read_text()
    assert run["machine"]["torch"] == torch.__version__
    assert run["commit"] in page
    assert run["machine"]["cpu"] in page
    assert all(figure["name"] in page for figure in run["figures"])
    assert page.endswith("\n## Start-up\n\nBy hand.\n")
    assert page.count("Start-up") == 1
    assert (tmp_path / "docs" / "img" / "cost.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", ["{", '{"figures": [{"title": "x"}]}', '{"figures": []}'])
def test_page_is_not_written_from_something_else(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "DOCS", tmp_path / "docs")
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(MamolError, match=r"not a file of results .* write one with --json"):
        report.read(path)
    assert program.main(["--write-docs", str(path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "docs").exists()


def test_machine_and_commit_are_known() -> None:
    assert all(harness.machine().values())
    assert harness.commit()
