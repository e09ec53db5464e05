"""The options of single commands, group by group, as in ``groups``."""

from dataclasses import dataclass
from typing import Any

from mamol.core import options as o
from mamol.core.names import PROTOCOLS
from mamol.core.options import option

LAUNCHERS = ("local", "ray", "slurm")
PAPER_TABLES = ("table1", "table2", "table3", "table4", "table5", "figure4", "figure4a", "figure5")


@dataclass(frozen=True)
class PredictSettings:
    """Of the command ``predict``; ``merge`` and ``export`` too read ``present``."""

    scene: str = option("", o.TEXT, "raw folder, scene.json, or folder of many scenes, to draw maps of", decides=False)
    present: str = option(
        "",
        o.TEXT,
        'modalities that may be used, hsi+lidar; each pixel uses those of them that saw it; "" allows all, each draws '
        "a map for every pattern",
        decides=False,
    )
    root: str = option(
        "", o.TEXT, 'folder of the files that scene=<scene.json> names; "" is where it lies', decides=False
    )
    bbox: tuple[float, ...] = option(
        "", o.BOX, "map only left,bottom,right,top, in the scene's coordinates", decides=False
    )
    polygon: str = option("", o.TEXT, "map only what lies in the polygons of this GeoPackage or GeoJSON", decides=False)
    stride: int | None = option(
        None,
        o.optional(o.integer(1)),
        "of head=pixels: pixels from window to window, at most their side, which is None; smaller ones are blended",
        decides=False,
    )
    probabilities: bool = option(False, o.FLAG, "also write a raster with a band per class", decides=False)
    abstain: float | None = option(
        None,
        o.optional(o.SHARE),
        "accepted share of wrong pixels: those that are not sure enough for it stay undecided; calibrate goes before",
        decides=False,
    )
    block: int = option(
        64, o.integer(1), "rows that are kept at once on the way; a stopped map goes on behind the last", decides=False
    )
    batch: int | None = option(
        None,
        o.optional(o.integer(1)),
        "windows at once; None takes 32 on a CPU, 8 of 16 x 16 with a dense head, 256 or more on a GPU",
        decides=False,
    )
    worker: bool = option(
        False,
        o.FLAG,
        "only compute blocks that are missing of maps that another command began; jobs starts such commands",
        decides=False,
    )


@dataclass(frozen=True)
class CalibrateSettings:
    """Of the command ``calibrate``, and of those that use what it wrote."""

    calibrated: bool = option(
        True, o.FLAG, "use what calibrate left beside load_path; False: probabilities as they are", decides=False
    )
    coverage: float | None = option(
        0.9,
        o.optional(o.SHARE),
        "of calibrate: share of samples whose set of classes has to hold the true one; None: no sets",
        decides=False,
    )
    class_conditional: bool = option(
        False, o.FLAG, "of calibrate: reach the coverage for each class by itself", decides=False
    )


@dataclass(frozen=True)
class EvaluateSettings:
    """Of the commands ``evaluate`` and ``routing``."""

    evaluate_ratios: tuple[float, ...] = option(
        [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], o.RATIOS, "missing rates of the grid", decides=False
    )
    evaluate_types: tuple[str, ...] = option(
        "", o.KINDS, 'missing types of the grid: hsi,lidar,both; "" takes all that the table has', decides=False
    )
    routing_class: str | int = option(
        "",
        o.CLASS,
        'only test samples of this class: name, or number from 1 as in a label map; "" takes all',
        decides=False,
    )


@dataclass(frozen=True)
class PretrainSettings:
    """Of the command ``pretrain``; resuming one checks all of them."""

    window: int | None = option(
        None,
        o.optional(o.integer(2)),
        "side of the windows in pixels; None is that of the tables, and 14 for scenes",
        decides=False,
    )
    mask_ratio: float = option(
        0.75, o.SHARE, "share of the pixels of each window and modality that is hidden", decides=False
    )
    mixture_experts: int = option(4, o.integer(1), "experts K of each mixture", decides=False)
    mixture_top_k: int = option(1, o.integer(1), "how many of them a token uses", decides=False)
    mixture_blocks: str | tuple[int, ...] | None = option(
        None, o.optional(o.BLOCKS), "blocks with a mixture, as expert_blocks; None is the last half", decides=False
    )
    mixture_input: str = option(
        "modality",
        o.choice("modality", "both"),
        "what their routers see: modality (token, modality and pattern) or both (token and pattern)",
        decides=False,
    )
    modality_balance: float = option(
        0.01, o.NOT_NEGATIVE, "weight of the load balancing among the tokens of each modality", decides=False
    )
    information_weight: float = option(
        0.01, o.NOT_NEGATIVE, "weight with which mutual information of expert and modality is rewarded", decides=False
    )


@dataclass(frozen=True)
class PruneSettings:
    """Of the command ``prune``."""

    keep: tuple[str, ...] = option("", o.NAMES, "modalities that stay, hsi,lidar", decides=False)
    patterns: tuple[str, ...] = option(
        "",
        o.PATTERNS,
        "prune: experts have to matter under one of these patterns of what stays, hsi,hsi+lidar; report: show these; "
        '"" takes all',
        decides=False,
    )
    tau: float = option(
        0.25,
        o.NOT_NEGATIVE,
        "routed experts stay whose share of what all make of the tokens is at least tau times an even one; 0 keeps all",
        decides=False,
    )


@dataclass(frozen=True)
class ExportSettings:
    """Of the command ``export``."""

    format: str = option("onnx", o.choice("onnx"), "of the file: onnx", decides=False)


@dataclass(frozen=True)
class ReportSettings:
    """Of the command ``report``; it also reads those of ``predict`` and ``evaluate``, and ``patterns`` of ``prune``."""

    compare: tuple[str, ...] = option(
        "", o.WORDS, "checkpoints or run folders, with commas between them, to show beside load_path", decides=False
    )
    preview: int = option(
        40, o.integer(1), "of head=class: points along the longer side of a map, each a window", decides=False
    )


@dataclass(frozen=True)
class ReproduceSettings:
    """Of the commands ``reproduce`` and ``standin``; ``predict`` too reads the last four."""

    reproduce: str = option(
        "",
        o.choice("", *PAPER_TABLES),
        "table1, table2, table3, table4, table5, figure4, figure4a or figure5; the named configs of these names set it",
        decides=False,
    )
    datasets: tuple[str, ...] = option(
        "", o.WORDS, 'tables in data_root, one folder each: houston2013,trento; "" takes the paper\'s', decides=False
    )
    methods: tuple[str, ...] = option("", o.WORDS, 'mamol,baseline,no_static; "" takes the paper\'s', decides=False)
    vilt_weights: str = option(
        "", o.TEXT, "Hugging Face folder of the ViLT of moe_rep_vilt, moe_ada_vilt and moe_task_vilt", decides=False
    )
    rates: tuple[float, ...] | None = option(
        None, o.optional(o.RATIOS), "missing rates, [0.5, 0.7]; None takes the paper's", decides=False
    )
    protocols: tuple[str, ...] = option(
        "",
        o.words(f"some of {', '.join(PROTOCOLS)}", PROTOCOLS.__contains__, tuple),
        'paper,disjoint,blocks: compares the tables <dataset>_<protocol>; "" takes <dataset> as it is',
        decides=False,
    )
    seeds: int = option(5, o.integer(1), "runs of each: seed, seed + 1, ...", decides=False)
    dry_run: bool = option(
        False,
        o.FLAG,
        "only list the runs, with an estimate of the time; standin: write the page of what is done; predict: only say "
        "windows, time and memory",
        decides=False,
    )
    launcher: str = option(
        "local", o.choice(*LAUNCHERS), "where runs, or blocks of maps, are done: local, ray or slurm", decides=False
    )
    jobs: int = option(
        1,
        o.integer(1),
        "runs at once, or processes that share the blocks of maps; local spreads them over the GPUs",
        decides=False,
    )
    slurm: dict[str, Any] | None = option(
        None,
        o.optional(o.DICTIONARY),
        'submitit\'s parameters, {"slurm_partition": "gpu", "timeout_min": 600}',
        decides=False,
    )
