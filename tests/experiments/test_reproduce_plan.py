"""Which runs a table is made of, and by what a finished one is known."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest

import make_arrow
from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.settings import Settings
from mamol.data.missing import draw, draw_availability, realised
from mamol.data.tables import open_tables
from mamol.experiments.reproduce.differences import OPENAI_SHA256, all_differences, differences
from mamol.experiments.reproduce.paper import TABLES, Row
from mamol.experiments.reproduce.plan import Plan, Source, fingerprint_of, make_plan
from mamol.experiments.reproduce.reported import reported
from mamol.experiments.reproduce.variants import variants

# fmt: off
NOT_OF_THE_RESULT = {
    "exp_name", "log_dir", "data_root", "dataset", "clip_weights", "load_path", "resume_from", "test_only", "plugins",
    "num_gpus", "num_nodes", "cpu_processes", "num_workers", "threads", "progress_bar",
    "scene", "present", "root", "bbox", "polygon", "probabilities", "stride", "block", "batch", "worker",
    "window", "mask_ratio", "mixture_experts", "mixture_top_k", "mixture_blocks", "mixture_input", "modality_balance",
    "information_weight", "keep", "patterns", "tau", "format", "compare", "preview",
    "calibrated", "coverage", "class_conditional", "abstain",
    "evaluate_ratios", "evaluate_types", "routing_class",
    "reproduce", "datasets", "methods", "vilt_weights", "rates", "protocols", "seeds", "dry_run", "launcher", "jobs",
    "slurm",
}
"""Options that say where and how a run is done, or belong to other commands; all others make it another run."""
# fmt: on


def config(tables: Path, **options: Any) -> dict[str, Any]:
    quick = {"backbone": "tiny", "num_gpus": 0, "seeds": 1, "datasets": "synthetic", "log_dir": "out"}
    return {**quick, "data_root": str(tables), **options}


def plan_of(tables: Path, **options: Any) -> Plan:
    return make_plan(config(tables, **options))


@pytest.mark.parametrize(
    ("name", "runs"),
    [("table1", 54), ("table3", 8), ("table4", 12), ("table5", 15), ("figure4", 6), ("figure4a", 18), ("figure5", 1)],
)
def test_every_table_has_its_runs(name: str, runs: int, tables: Path) -> None:
    plan = plan_of(tables, reproduce=name, seeds=2)
    assert len(plan.cells) == len(plan.jobs) == 2 * runs
    assert {cell.seed for cell in plan.cells[:runs]} == {0}, "all of one seed come first"


@pytest.mark.parametrize("name", ["table1", "table3", "table4", "table5"])
def test_every_reported_number_has_its_row(name: str, tables: Path) -> None:
    known = [c for c in reported(name) if c not in ("dataset", "OA", "kappa", "misprint")]
    modalities = ("hsi", "sar", "lidar") if name == "table3" else ("hsi", "lidar")
    table = TABLES[name]
    rows = [{**row.labels, "method": m} for row in table.rows(modalities, table.rates) for m in table.methods]
    there = {tuple(row[c] for c in known) for row in rows}
    assert set(reported(name)[known].itertuples(index=False, name=None)) == there
    assert set(reported(name)["dataset"]) == set(table.datasets)


def test_table1_rows_have_the_availability_they_name() -> None:
    for row in TABLES["table1"].rows(("hsi", "lidar"), (0.5, 0.7, 0.9)):
        ratio, kind = row.options["missing_ratio"], row.options["missing_type"]
        mask = draw(2000, ("hsi", "lidar"), ratio=ratio, kind=kind, seed=0, fingerprint="f")
        percent = realised(mask, ("hsi", "lidar"))["available_percent"]
        assert percent == {"hsi": row.labels["hsi_percent"], "lidar": row.labels["other_percent"]}


def test_table3_rows_have_the_availability_they_name() -> None:
    modalities = ("hsi", "sar", "lidar")
    for row in TABLES["table3"].rows(modalities, ()):
        rates, reading = row.options["availability"], row.options["availability_reading"]
        mask = draw_availability(2000, rates, modalities, reading=reading, seed=0, fingerprint="f")
        real = realised(mask, modalities)
        assert real["available_percent"] == {name: row.labels[f"{name}_percent"] for name in modalities}
        assert (real["incomplete_percent"] == 75) == (reading == "overall")


def test_every_variant_is_a_run(tables: Path, vilt: Path) -> None:
    plan = plan_of(tables, reproduce="table5", methods=list(variants()), rates=0.7, vilt_weights=str(vilt))
    keys = {cell.method: cell.job.folder.name for cell in plan.cells}
    assert keys["mamol_dyn"] == keys["no_static"]
    assert len(set(keys.values())) == len(variants()) - 1


def test_tables_share_their_runs(tables: Path) -> None:
    def runs(name: str, **labels: object) -> set[str]:
        cells = plan_of(tables, reproduce=name, methods="mamol", rates=0.7).cells
        return {c.job.folder.name for c in cells if labels.items() <= c.row.labels.items()}

    (both,) = runs("table1", missing="both")
    assert runs("table5") == runs("figure5") == runs("table4", layers="last6x2") == {both}
    assert both in runs("figure4")


def test_what_decides_the_result_decides_the_key(tables: Path) -> None:
    def keys(**options: Any) -> list[str]:
        plan = plan_of(tables, reproduce="table5", methods="mamol", rates=0.7, **options)
        return [job.folder.name for job in plan.jobs]

    first = keys()
    assert (
        keys(exp_name="other", jobs=3, progress_bar=False, num_workers=2, log_dir="elsewhere", test_ratio=0.1) == first
    )
    for other in ({"max_epoch": 3}, {"rank": 4}, {"learning_rate": 1e-3}, {"seed": 1}, {"clip_weights": "random"}):
        assert keys(**other) != first, other
    assert keys(datasets="synthetic_paper") != first
    assert keys(seeds=2)[:1] == first
    assert Settings().flat().keys() - Settings().decisive().keys() == NOT_OF_THE_RESULT


def test_the_same_weights_under_another_name_are_the_same_run(tables: Path, tmp_path: Path) -> None:
    def key(path: Path) -> str:
        plan = plan_of(tables, reproduce="figure5", clip_weights=str(path))
        assert plan.jobs[0].config["clip_weights"] == str(path.resolve())
        return plan.jobs[0].folder.name

    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    assert key(tmp_path / "a") == key(tmp_path / "b") != key(tmp_path / "c")


def test_the_layout_of_a_table_does_not_matter(tables: Path, scene_folder: Path, tmp_path: Path) -> None:
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    where = ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(tmp_path)]
    assert make_arrow.main([*where, *sizes, "--layout", "scene"]) == 0
    same, other = tables / "synthetic", tables / "synthetic_blocks"
    assert (
        fingerprint_of(open_tables(tmp_path)) == fingerprint_of(open_tables(same)) != fingerprint_of(open_tables(other))
    )


def test_modalities_are_the_papers_where_a_scene_has_them() -> None:
    one, three = TABLES["table1"], TABLES["table3"]
    assert one.modalities("augsburg", ("hsi", "lidar", "sar")) == ("hsi", "sar")
    assert one.modalities("trento_hybrid", ("hsi", "lidar", "sar")) == ("hsi", "lidar")
    assert one.modalities("italy", ("hsi", "sar")) == ("hsi", "sar")
    assert three.modalities("augsburg", ("hsi", "lidar", "sar")) == ("hsi", "sar", "lidar")
    assert three.modalities("idtrees", ("hsi", "lidar", "ms")) == ("hsi", "lidar", "ms")
    assert three.modalities("trento", ("hsi", "lidar")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "reproduce needs the name of a table: python run.py reproduce with table1, table2, table3"),
        ({"reproduce": "table4", "methods": "moe_rep_vilt"}, "moe_task_vilt need vilt_weights=<folder .*>, not ''$"),
        ({"reproduce": "table4", "methods": "moe_rep_vilt", "vilt_weights": "x"}, "need vilt_weights=<.*>, not 'x'$"),
        ({"reproduce": "table9"}, "reproduce='table9' must be one of"),
        ({"reproduce": "table1", "methods": "mamol,vit"}, "methods=mamol,vit: unknown vit; known: mamol, baseline"),
        ({"reproduce": "table1", "datasets": "trento"}, "make_arrow.py --dataset trento --root RAW --out .*trento"),
        ({"reproduce": "table1", "protocols": "official"}, "synthetic_official --protocol official"),
        ({"reproduce": "table1", "protocols": "none"}, "protocols='none' must be some of disjoint, paper"),
        ({"reproduce": "table1", "rates": 2}, "rates=2 must be None or rates from 0 to 1"),
        ({"reproduce": "table1", "launcher": "ssh"}, "launcher='ssh' must be one of local, ray, slurm"),
        ({"reproduce": "table1", "seeds": 0}, "seeds=0 must be a whole number of at least 1"),
        ({"reproduce": "table1", "slurm": 3}, "slurm=3 must be None or a dictionary"),
        ({"reproduce": "table3", "modalities": "hsi,sar"}, "table3 needs 3 modalities: .* modalities=hsi,sar"),
        ({"reproduce": "table1", "modalities": "hsi,ms"}, "table1 needs 2 modalities: .* has hsi, lidar, sar, modal"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str, tables: Path) -> None:
    with pytest.raises(MamolError, match=message):
        plan_of(tables, **options)


def test_a_table_of_another_protocol_is_refused(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "synthetic_paper").symlink_to(tables / "synthetic_blocks")
    with pytest.raises(MamolError, match=r"holds a split by protocol blocks; python make_arrow.py .* --protocol paper"):
        plan_of(tmp_path, reproduce="table5", protocols="paper")


def test_only_the_papers_conditions_are_no_stand_in(tables: Path) -> None:
    plan = plan_of(tables, reproduce="table5")
    reasons = all_differences(plan)
    for reason in (
        "backbone tiny with random",
        "synthetic is not data of the paper",
        "disjoint, not paper",
        "windows of 4",
    ):
        assert reason in reasons
    real = scene_of_the_paper(plan, "trento")
    clip = {"backbone": "ViT-B-16-quickgelu", "reproduce": "table5"}
    assert differences(plan_of(tables, **clip), real) == ""
    for change in ({"max_epoch": 3}, {"clip_weights": "random"}, {"limit_batches": 2}, {"max_steps": 5}):
        assert differences(plan_of(tables, **clip, **change), real) != ""
    plan = plan_of(tables, **clip)
    hybrid = dataclasses.replace(real, dataset="trento_hybrid")
    assert "trento_hybrid is not data of the paper" in differences(plan, hybrid)
    leakless = dataclasses.replace(real, info=dataclasses.replace(real.info, protocol="blocks"))
    assert "by protocol blocks, not paper" in differences(plan, leakless)
    assert np.all([differences(plan, s) for s in (hybrid, leakless)])


def scene_of_the_paper(plan: Plan, dataset: str) -> Source:
    """The tables of a plan, as if they held a scene of the paper."""
    (source,) = plan.sources
    numbers = {"train": 100, "val": 50, "test": 300}
    counts = {split: dict.fromkeys(source.info.classes, number) for split, number in numbers.items()}
    info: Any = dataclasses.replace(
        source.info, dataset=dataset, note="", protocol="paper", patch_size=14, counts=counts
    )
    return dataclasses.replace(source, dataset=dataset, info=info)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"learning_rate": 1}, "learning_rate=1.0, not 0.002"),
        ({"optim_type": "sgd"}, "optim_type=sgd, not adamw"),
        ({"batch_size": 8}, "batch_size=8, not 128"),
        ({"rank": 64}, "rank=64, not 8"),
        ({"normalise": False}, "normalise=False, not True"),
        ({"activation": "gelu"}, "activation=gelu, not auto"),
        ({"router_input": "features"}, "router_input=features, not both"),
        ({"fusion": "single_stream"}, "fusion=single_stream, not late"),
        ({"max_epoch": 300}, "max_epoch=300, not 201"),
        ({"clip_weights": "RemoteCLIP.pt"}, "clip_weights=RemoteCLIP.pt, not known to be those of OpenAI's CLIP"),
        ({"resample_missing": True}, "resample_missing=True, not False"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_option_that_decides_results_is_compared_with_the_tables_own(
    change: dict[str, Any], reason: str, tables: Path
) -> None:
    plan = plan_of(tables, backbone="ViT-B-16-quickgelu", reproduce="table5", **change)
    assert differences(plan, scene_of_the_paper(plan, "trento")) == reason


def test_what_a_row_a_method_or_the_paper_sets_is_no_difference(tables: Path) -> None:
    clip = {"backbone": "ViT-B-16-quickgelu"}
    for options in (
        {"reproduce": "table4"},
        {"reproduce": "table3", "modalities": "lidar,sar,hsi"},
        {"reproduce": "table1", "missing_ratio": 0.1, "seed": 4, "seeds": 2, "exp_name": "other"},
        {"reproduce": "table1", "optim_type": "adam", "per_gpu_batchsize": 16, "modalities": "lidar,hsi"},
        {"reproduce": "table1", "methods": "baseline", "rank": 64},
    ):
        plan = plan_of(tables, **clip, **options)
        assert differences(plan, scene_of_the_paper(plan, "houston2013")) == "", options


def test_openais_file_is_known_by_its_content(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = open_clip.get_pretrained_url("ViT-B-16-quickgelu", "openai")
    assert url.split("/")[-2] == OPENAI_SHA256
    file = tmp_path / "copy.pt"
    file.write_bytes(b"weights")
    options = {"backbone": "ViT-B-16-quickgelu", "reproduce": "table5", "clip_weights": str(file)}
    plan = plan_of(tables, **options)
    real = scene_of_the_paper(plan, "trento")
    assert differences(plan, real) == "clip_weights=copy.pt, not known to be those of OpenAI's CLIP"
    monkeypatch.setattr("mamol.experiments.reproduce.differences.OPENAI_SHA256", sha256_of(file))
    assert differences(plan, real) == ""


def test_other_sensors_than_the_tables_are_a_stand_in(tables: Path) -> None:
    options = {"backbone": "ViT-B-16-quickgelu", "reproduce": "table1"}
    plan = plan_of(tables, **options, modalities="hsi,lidar")
    augsburg = scene_of_the_paper(plan, "augsburg")
    assert differences(plan, augsburg) == "modalities hsi,lidar, not hsi,sar"
    plan = plan_of(tables, **options, modalities="sar,hsi")
    assert differences(plan, scene_of_the_paper(plan, "augsburg")) == ""


@pytest.mark.parametrize("modalities", [("hsi", "lidar"), ("lidar", "hsi")])
def test_rows_of_table1_are_named_by_the_sensor_and_not_by_its_place(modalities: tuple[str, str]) -> None:
    for row in TABLES["table1"].rows(modalities, (0.7,)):
        mask = draw(2000, modalities, **kind_of(row), seed=0, fingerprint="f")
        percent = realised(mask, modalities)["available_percent"]
        assert percent == {"hsi": row.labels["hsi_percent"], "lidar": row.labels["other_percent"]}
        missing = {"other": "lidar"}.get(row.labels["missing"], row.labels["missing"])
        assert missing == row.options["missing_type"]


def test_without_hsi_rows_bear_the_sensors_own_names() -> None:
    labels = [row.labels for row in TABLES["table1"].rows(("lidar", "sar"), (0.7,))]
    assert labels[0] == {"rate": 0.7, "missing": "sar", "lidar_percent": 100, "sar_percent": 30}
    assert [row["missing"] for row in labels] == ["sar", "lidar", "both"]


def test_rows_of_other_tables_go_by_name_too() -> None:
    def plain(name: str, *modalities: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(row.labels, row.options) for row in TABLES[name].rows(modalities, (0.5,))]

    assert plain("table2", "text", "image") == plain("table2", "image", "text")
    assert plain("table3", "lidar", "hsi", "sar") == plain("table3", "hsi", "sar", "lidar")


def kind_of(row: Row) -> dict[str, Any]:
    return {"ratio": row.options["missing_ratio"], "kind": row.options["missing_type"]}
