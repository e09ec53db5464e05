"""Which runs a table is made of, and by what a finished one is known."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import make_arrow
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.missing import draw, draw_availability, realised
from mamol.data.tables import open_tables
from mamol.experiments.reproduce.differences import all_differences, differences
from mamol.experiments.reproduce.paper import TABLES, variants
from mamol.experiments.reproduce.plan import Plan, find_sources, fingerprint_of, make_plan
from mamol.experiments.reproduce.reported import reported

# fmt: off
NOT_OF_THE_RESULT = {
    "exp_name", "log_dir", "data_root", "dataset", "clip_weights", "load_path", "resume_from", "test_only", "plugins",
    "num_gpus", "num_nodes", "cpu_processes", "num_workers", "threads", "progress_bar",
    "scene", "present", "evaluate_ratios", "evaluate_types", "routing_class",
    "reproduce", "datasets", "methods", "rates", "protocols", "seeds", "dry_run", "launcher", "jobs", "slurm",
}
"""Options that say where and how a run is done, or belong to other commands; all others make it another run."""
# fmt: on


def config(tables: Path, **options: Any) -> dict[str, Any]:
    quick = {"backbone": "tiny", "num_gpus": 0, "seeds": 1, "datasets": "synthetic", "log_dir": "out"}
    return {**quick, "data_root": str(tables), **options}


def plan_of(tables: Path, **options: Any) -> Plan:
    return make_plan(config(tables, **options))


@pytest.mark.parametrize(
    ("name", "runs"), [("table1", 54), ("table3", 8), ("table4", 12), ("table5", 15), ("figure4", 6), ("figure5", 1)]
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


def test_every_variant_is_a_run(tables: Path) -> None:
    plan = plan_of(tables, reproduce="table5", methods=list(variants()), rates=0.7)
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
    settings = Settings.of(config(tables, backbone="ViT-B-16-quickgelu", reproduce="table5"))
    (source,) = find_sources(settings, TABLES["table5"])
    counts = {
        split: dict.fromkeys(source.info.classes, n) for split, n in {"train": 100, "val": 50, "test": 300}.items()
    }
    info = dataclasses.replace(source.info, dataset="trento", note="", protocol="paper", patch_size=14, counts=counts)
    real = dataclasses.replace(source, dataset="trento", info=info)
    plan = dataclasses.replace(plan, settings=settings)
    assert differences(plan, real) == ""
    for change in ({"max_epoch": 3}, {"clip_weights": "random"}, {"limit_batches": 2}, {"max_steps": 5}):
        assert differences(dataclasses.replace(plan, settings=settings.changed(**change)), real) != ""
    hybrid = dataclasses.replace(real, dataset="trento_hybrid")
    assert "trento_hybrid is not data of the paper" in differences(plan, hybrid)
    leakless = dataclasses.replace(real, info=dataclasses.replace(info, protocol="blocks"))
    assert "by protocol blocks, not paper" in differences(plan, leakless)
    assert np.all([differences(plan, s) for s in (hybrid, leakless)])
