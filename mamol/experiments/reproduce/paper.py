"""What the paper's tables and figures consist of, as data: rows, methods, and the options that each stands for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mamol.experiments.reproduce.variants import ABLATIONS, ON_VILT

RATES = (0.5, 0.7, 0.9)
TEST_RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""At which Fig. 4 tests."""
FIGURE5_CLASS = 7
"""Whose samples Fig. 5 shows, counted from 1."""

IMAGE_TEXT: dict[str, Any] = {
    "batch_size": 256,
    "max_epoch": 20,
    "learning_rate": 1e-2,
    "weight_decay": 2e-2,
    "warmup_steps": 0.1,
    "missing_ratio": {"train": 0.7, "val": 0.7, "test": 0.7},
    "missing_type": {"train": "both", "val": "both", "test": "both"},
    "num_workers": 4,
}
"""How MMP, DCP and the release train on images and texts; ``val_check_interval`` is each dataset's own."""
AS_STATED: dict[str, Any] = {
    "optim_type": "adam",
    "learning_rate": 2e-3,
    "weight_decay": 2e-2,
    "warmup_steps": 0.1,
    "batch_size": 128,
}
"""What the paper's text says of the training, of all experiments; no other number of it is there."""

VILT_NOTE = (
    "The paper's numbers of moe_rep, moe_ada and moe_task are those of MoEs on ViLT, if its Table 4 is labelled right "
    "(its text builds them upon ViLT, too, but says that all methods share one backbone); MaMOL's are on CLIP. Here "
    "all methods have one backbone; only those whose names end in _vilt have ViLT."
)


@dataclass(frozen=True)
class Row:
    """One condition of a table.

    Attributes:
        labels: What tells it from the others; the columns of ``numbers/*.csv`` beside this file.
        options: The options of a run that it stands for.
    """

    labels: dict[str, Any]
    options: dict[str, Any]


Rows = Callable[[Sequence[str], Sequence[float]], list[Row]]


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of the paper.

    Attributes:
        title: What it shows.
        datasets: The paper's scenes, by the names of their folders.
        methods: The paper's methods, keys of ``variants``.
        rows: Its conditions, from the modalities used and the missing rates.
        sensors: How many modalities of a scene it uses.
        rates: Missing rates of the paper.
        preferred: Modalities that are taken first: those of scenes whose names begin with a key, and under the empty
            key those of all others.
        follow_up: Command that is run on each trained network; none for tables.
        follow_version: Of the follow-up; grows where its command gives other results than before.
        options: Of its runs, where they are not the defaults.
        average: Label over whose values the paper gives averages, too; none if empty.
        reported_as: Variant to the method of the paper beside which it stands, for those of other names.
        scores: Of a test, as ``metrics.json`` has them; the first decides which method is best.
        units: What the scores are in, for the remark.
        note: What else a reader has to know of the numbers.
        task: What the labels of its data are; tables with others are refused.
    """

    title: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    rows: Rows
    sensors: int = 2
    rates: tuple[float, ...] = RATES
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ("hsi", "lidar")})
    follow_up: str = ""
    follow_version: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    average: str = ""
    reported_as: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[str, ...] = ("OA", "kappa", "AA")
    units: str = "OA and AA in percent, kappa ×100"
    note: str = ""
    task: str = "classes"

    def follow_options(self, modalities: Sequence[str], classes: int) -> dict[str, Any]:
        """Options of the follow-up.

        Args:
            modalities: Those that are used of the scene.
            classes: How many classes the scene has.
        """
        if self.follow_up == "evaluate":
            return {"evaluate_types": ["both", *modalities], "evaluate_ratios": list(TEST_RATES)}
        return {"routing_class": min(FIGURE5_CLASS, classes)} if self.follow_up == "routing" else {}

    def modalities(self, dataset: str, there: Sequence[str]) -> tuple[str, ...] | None:
        """The modalities to use, the paper's first; None if the scene has too few.

        Args:
            dataset: Name of the folder.
            there: Modalities of the table, in its order.
        """
        named = next((names for key, names in self.preferred.items() if key and dataset.startswith(key)), None)
        wanted = named or self.preferred[""]
        chosen = [*(name for name in wanted if name in there), *(name for name in there if name not in wanted)]
        return tuple(chosen[: self.sensors]) if len(chosen) >= self.sensors else None


def _by_name(modalities: Sequence[str], paper: Sequence[str]) -> list[str]:
    """The modalities in the order of the paper's; others come behind them, in their own."""
    return [*(name for name in paper if name in modalities), *(name for name in modalities if name not in paper)]


def _table1(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """The same availability in training and test: the other sensor, HSI, or both go missing.

    The paper calls whatever stands beside HSI the other sensor. Without HSI, rows bear the names of the two sensors.
    """
    hsi, other = _by_name(modalities, ("hsi",))
    called = {hsi: hsi, other: "other" if hsi == "hsi" else other}
    rows = []
    for rate in rates:
        left, half = round(100 * (1 - rate)), round(100 * (1 - rate / 2))
        for kind, shares in ((other, (100, left)), (hsi, (left, 100)), ("both", (half, half))):
            percent = {f"{called[name]}_percent": share for name, share in zip((hsi, other), shares, strict=True)}
            labels = {"rate": rate, "missing": called.get(kind, kind), **percent}
            rows.append(Row(labels, {"missing_ratio": rate, "missing_type": kind}))
    return rows


def _table2(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """The same availability in training and test: texts, images, or both go missing."""
    rows = []
    for rate in rates:
        left, half = round(100 * (1 - rate)), round(100 * (1 - rate / 2))
        for kind, shares in (("text", (100, left)), ("image", (left, 100)), ("both", (half, half))):
            labels = {"image_percent": shares[0], "text_percent": shares[1]}
            rows.append(Row(labels, {"missing_ratio": rate, "missing_type": kind}))
    return rows


def _table3(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """Four availabilities in both readings: as shares of independent draws, and 75 % of the samples miss one."""
    modalities = _by_name(modalities, ("hsi", "sar", "lidar"))
    return [
        Row(
            {**{f"{name}_percent": share for name, share in zip(modalities, shares, strict=True)}, "reading": reading},
            {
                "availability": {name: share / 100 for name, share in zip(modalities, shares, strict=True)},
                "availability_reading": reading,
            },
        )
        for shares in ((75, 75, 75), (100, 75, 50), (50, 100, 75), (75, 50, 100))
        for reading in ("independent", "overall")
    ]


def _table4(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """Where the experts are: blocks × experts."""
    return [
        Row(
            {"rate": rate, "layers": f"{blocks}x{experts}"},
            {**_both(rate), "expert_blocks": blocks, "experts_dynamic": experts},
        )
        for rate in rates
        for blocks, experts in (("first6", 2), ("last6", 2), ("last2", 5))
    ]


def _table5(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    return [Row({"rate": rate}, _both(rate)) for rate in rates]


def _figure4(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """What training saw go missing; the test conditions come from the follow-up."""
    return [
        Row({"rate": rate, "trained": kind}, {"missing_ratio": rate, "missing_type": kind})
        for rate in rates
        for kind in ("both", *modalities)
    ]


def _figure4a(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """Tested as trained, on missing both."""
    return [Row({"rate": rate, "trained": "both"}, _both(rate)) for rate in rates]


def _both(rate: float) -> dict[str, Any]:
    return {"missing_ratio": rate, "missing_type": "both"}


TABLES: dict[str, PaperTable] = {
    "table1": PaperTable(
        "Table 1: three scenes, missing rates 50, 70 and 90 %",
        ("houston2013", "trento", "augsburg"),
        ("mmp", "dcp", "moe_rep", "moe_ada", "moe_task", "mamol"),
        _table1,
        preferred={"": ("hsi", "lidar"), "augsburg": ("hsi", "sar")},
        reported_as=ON_VILT,
        note=VILT_NOTE,
    ),
    "table2": PaperTable(
        "Table 2: MM-IMDb, missing rate 50 %",
        ("mmimdb",),
        ("mmp", "dcp", "moe_rep", "moe_ada", "moe_task", "mamol"),
        _table2,
        rates=(0.5,),
        preferred={"": ("image", "text")},
        options=IMAGE_TEXT | {"val_check_interval": 0.2},
        reported_as={"released_vision_language": "mamol"},
        scores=("F1_macro", "F1_micro", "F1_samples", "F1_weighted"),
        task="genres",
        units="F1 in percent at threshold 0.5",
        note="The release scores every plot of a movie as a sample (make_arrow.py --plots all), which weighs movies by "
        "their plots and changes the number of test items; the paper does not say what its numbers count. By default "
        "training is that of MMP, DCP and the release, at learning rate 1e-2 with batches of 256; the paper says 2e-3 "
        "and 128, which the named config as_stated sets. The paper's MaMOL is a network of 3.6 M parameters; that is "
        "released_vision_language (3,567,975), while mamol has 3,236,191. " + VILT_NOTE,
    ),
    "table3": PaperTable(
        "Table 3: three sensors, 75 % overall missing rate, in both readings",
        ("augsburg",),
        ("mamol",),
        _table3,
        sensors=3,
        rates=(),
        preferred={"": ("hsi", "sar", "lidar")},
    ),
    "table4": PaperTable(
        "Table 4: where the experts are, 70 % missing both",
        ("trento",),
        ("moe_rep", "moe_ada", "moe_task", "mamol_dyn"),
        _table4,
        rates=(0.7,),
        reported_as=ON_VILT,
        note=VILT_NOTE,
    ),
    "table5": PaperTable(
        "Table 5: ablations, missing both",
        ("trento",),
        ("baseline", *ABLATIONS, "mamol"),
        _table5,
        average="rate",
    ),
    "figure4": PaperTable(
        "Figure 4: trained on one kind of missing, tested on another, at every rate",
        ("houston2013",),
        ("baseline", "mamol"),
        _figure4,
        rates=(0.7,),
        follow_up="evaluate",
    ),
    "figure4a": PaperTable(
        "Figure 4(a): trained and tested on missing both, at the same rate",
        ("houston2013",),
        ("baseline", "mamol"),
        _figure4a,
        rates=TEST_RATES,
    ),
    "figure5": PaperTable(
        "Figure 5: routed experts per layer and missing pattern",
        ("houston2013",),
        ("mamol",),
        _table5,
        rates=(0.7,),
        follow_up="routing",
        follow_version=2,  # the first one counted one token per stream in the last block
    ),
}
