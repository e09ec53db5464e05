"""What the paper's tables and figures consist of, as data: rows, methods, and the options that each stands for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mamol.core.method import METHODS
from mamol.network import methods as _built_in  # noqa: F401 - registers them

RATES = (0.5, 0.7, 0.9)
TEST_RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""At which Fig. 4 tests."""
FIGURE5_CLASS = 7
"""Whose samples Fig. 5 shows, counted from 1."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "no_dynamic": {"dynamic_experts": False},
    "no_static": {"shared_expert": False, "modality_experts": False},
    "no_modality": {"modality_experts": False},
}


def variants() -> dict[str, dict[str, Any]]:
    """What ``methods=`` can name, with the option values of a run: methods that are registered now, and ablations."""
    return {
        # The named config `released` sets more than the method; it cannot stand beside others in one table.
        **{name: {"method": name} for name in METHODS if name != "released"},
        **{name: {"method": "mamol", **options} for name, options in ABLATIONS.items()},
        # Table 4's name for dynamic experts alone, although its "last6x2" number is that of the whole MaMOL in Table 1.
        "mamol_dyn": {"method": "mamol", **ABLATIONS["no_static"]},
    }


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
        epochs: Passes over the training table in the release; the paper gives no number.
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
    epochs: int = 201
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


def _table1(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """The same availability in training and test: the other sensor, the first one, or both go missing."""
    first, other = modalities
    rows = []
    for rate in rates:
        left, half = round(100 * (1 - rate)), round(100 * (1 - rate / 2))
        for name, kind, shares in (
            ("other", other, (100, left)),
            ("hsi", first, (left, 100)),
            ("both", "both", (half, half)),
        ):
            labels = {"rate": rate, "missing": name, "hsi_percent": shares[0], "other_percent": shares[1]}
            rows.append(Row(labels, {"missing_ratio": rate, "missing_type": kind}))
    return rows


def _table2(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """The same availability in training and test: texts, images, or both go missing."""
    image, text = modalities
    rows = []
    for rate in rates:
        left, half = round(100 * (1 - rate)), round(100 * (1 - rate / 2))
        for kind, shares in ((text, (100, left)), (image, (left, 100)), ("both", (half, half))):
            labels = {"image_percent": shares[0], "text_percent": shares[1]}
            rows.append(Row(labels, {"missing_ratio": rate, "missing_type": kind}))
    return rows


def _table3(modalities: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """Four availabilities in both readings: as shares of independent draws, and 75 % of the samples miss one."""
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


def _both(rate: float) -> dict[str, Any]:
    return {"missing_ratio": rate, "missing_type": "both"}


TABLES: dict[str, PaperTable] = {
    "table1": PaperTable(
        "Table 1: three scenes, missing rates 50, 70 and 90 %",
        ("houston2013", "trento", "augsburg"),
        ("mmp", "dcp", "moe_rep", "moe_ada", "moe_task", "mamol"),
        _table1,
        preferred={"": ("hsi", "lidar"), "augsburg": ("hsi", "sar")},
    ),
    "table2": PaperTable(
        "Table 2: MM-IMDb, missing rate 50 %",
        ("mmimdb",),
        ("mmp", "dcp", "moe_rep", "moe_ada", "moe_task", "mamol"),
        _table2,
        rates=(0.5,),
        preferred={"": ("image", "text")},
        epochs=20,
        scores=("F1_macro", "F1_micro", "F1_samples", "F1_weighted"),
        task="genres",
        units="F1 in percent at threshold 0.5",
        note="The release scores every plot of a movie as a sample (make_arrow.py --plots all), which weighs movies by "
        "their plots and changes the number of test items; the paper does not say what its numbers count.",
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
    ),
    "table5": PaperTable(
        "Table 5: ablations, missing both",
        ("trento",),
        ("baseline", *ABLATIONS, "mamol"),
        _table5,
    ),
    "figure4": PaperTable(
        "Figure 4: trained on one kind of missing, tested on another, at every rate",
        ("houston2013",),
        ("baseline", "mamol"),
        _figure4,
        rates=(0.7,),
        follow_up="evaluate",
    ),
    "figure5": PaperTable(
        "Figure 5: routed experts per layer and missing pattern",
        ("houston2013",),
        ("mamol",),
        _table5,
        rates=(0.7,),
        follow_up="routing",
    ),
}
