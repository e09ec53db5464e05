"""From a table of the paper to runs: which there are, and by what a finished one is recognised."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mamol.backbones.vilt import NAME as VILT
from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.settings import Settings
from mamol.data.tableinfo import TableInfo
from mamol.data.tables import AnyTable, open_tables
from mamol.experiments.reproduce.paper import TABLES, PaperTable, Row
from mamol.experiments.reproduce.reported import counterpart
from mamol.experiments.reproduce.variants import ON_VILT, variants, vilt_folder
from mamol.launch.job import Job

ADDED = frozenset(
    (
        *("network", "head", "head_blocks", "compensate", "train_backbone", "volumetric", "window_shift"),
        *("class_weight", "loss", "augment", "experts_per_block", "merged_ranks"),
    )
)
"""Options that decide the result and that the first version did not have."""
RETIRED_DEFAULTS = {"missing_fill": 0.0}
"""Options that the first version had, with their only value in a table of the paper."""
OF_THE_FILES = ("layout", "output", "split")
"""What tables say of themselves and not of their content."""
FRESH = {
    "availability": None,
    "test_ratio": None,
    "test_type": None,
    "load_path": "",
    "resume_from": "",
    "test_only": False,
    "dataset": "",
    "progress_bar": False,
}
"""What every run starts from, whatever the command line says."""


@dataclass(frozen=True)
class Source:
    """The tables of one scene and protocol.

    Attributes:
        dataset: Name of the folder, without the protocol.
        root: The folder.
        info: What the tables say about themselves.
        modalities: Those that are used.
        fingerprint: sha256 of which samples the tables hold and of what.
    """

    dataset: str
    root: Path
    info: TableInfo
    modalities: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Cell:
    """One run in its place in the table."""

    source: Source
    row: Row
    method: str
    seed: int
    job: Job


@dataclass(frozen=True)
class Plan:
    """All runs of a table.

    Attributes:
        name: ``table1`` and so on.
        table: What it consists of.
        settings: Of the command line.
        cells: The runs in their places, seed by seed.
        weights: What CLIP's weights are: sha256 of a file, or their name.
    """

    name: str
    table: PaperTable
    settings: Settings
    cells: list[Cell]
    weights: str

    @property
    def jobs(self) -> list[Job]:
        """Every run once; a run can stand in several places."""
        return list({cell.job.folder: cell.job for cell in self.cells}.values())

    @property
    def sources(self) -> list[Source]:
        """Every scene and protocol once."""
        return list({cell.source.root: cell.source for cell in self.cells}.values())

    @property
    def folder(self) -> Path:
        """Where the table is written."""
        return Path(self.settings.run.log_dir) / self.name


def make_plan(config: Mapping[str, Any]) -> Plan:
    """Expands a table into runs; nothing is written.

    Args:
        config: All options, as Sacred resolved them.

    Returns:
        The plan.

    Raises:
        MamolError: No table is named, a method or a scene is unknown, tables are missing, or options do not fit.
    """
    settings = Settings.of(config)
    asked = settings.reproduce
    if not asked.reproduce:
        raise MamolError(f"reproduce needs the name of a table: python run.py reproduce with {', '.join(TABLES)}")
    table = TABLES[asked.reproduce]
    methods = asked.methods or table.methods
    known = variants()
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise MamolError(f"methods={','.join(methods)}: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    base = Base.of(config, settings, vilt=bool(ON_VILT.keys() & set(methods)))
    sources = find_sources(settings, table)
    rates = table.rates if asked.rates is None else asked.rates
    cells = [
        _cell(table, base, source, row, method, seed)
        for seed in range(settings.run.seed, settings.run.seed + asked.seeds)
        for source in sources
        for row in table.rows(source.modalities, rates)
        for method in methods
    ]
    return Plan(asked.reproduce, table, settings, cells, base.weights)


def _cell(table: PaperTable, base: "Base", source: Source, row: Row, method: str, seed: int) -> Cell:
    place = ", ".join(str(value) for value in (source.dataset, source.info.protocol, *row.labels.values()))
    follow = table.follow_options(source.modalities, len(source.info.classes))
    options = {**row.options, **variants()[method]}
    job = base.job(f"{method} on {place}, seed {seed}", source, options, seed, table.follow_up, follow)
    return Cell(source, row, method, seed, replace(job, follow_version=table.follow_version))


@dataclass(frozen=True)
class Base:
    """What all runs of a plan have in common.

    Attributes:
        config: Options by flat names.
        weights: What the frozen weights are: sha256 of a file, or their name.
        vilt: Folder of the ViLT of the methods that are on it, and sha256 of its weights; empty if none is.
    """

    config: dict[str, Any]
    weights: str
    vilt: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, config: Mapping[str, Any], settings: Settings, *, vilt: bool = False) -> "Base":
        """From the options of a command; paths become absolute, as launchers may start elsewhere.

        Args:
            config: All options, as Sacred resolved them.
            settings: The same, checked.
            vilt: Whether some methods are on ViLT.

        Raises:
            MamolError: They are, and ``vilt_weights`` is no folder of a ViLT.
        """
        base = {
            **json.loads(json.dumps(config)),
            **FRESH,
            "log_dir": str(Path(settings.run.log_dir).resolve() / "runs"),
        }
        base["plugins"] = [str(Path(file).resolve()) for file in settings.run.plugins]
        weights = Path(settings.network.clip_weights)
        if weights.exists():
            base["clip_weights"] = str(weights.resolve())
        known = sha256_of(weights) if weights.is_file() else settings.network.clip_weights
        return cls(base, known, vilt_folder(settings.reproduce) if vilt else ("", ""))

    def job(
        self,
        name: str,
        source: Source,
        options: Mapping[str, Any],
        seed: int,
        follow_up: str = "",
        follow_options: Mapping[str, Any] | None = None,
    ) -> Job:
        """One run; its folder is named by what decides its result.

        Args:
            name: For people.
            source: The tables.
            options: Those that make it differ from the base.
            seed: Of the run.
            follow_up: Command on the trained network.
            follow_options: Its options.
        """
        on_vilt = options.get("backbone") == VILT
        folder, vilt = self.vilt
        weights = vilt if on_vilt else self.weights
        config = {
            **self.config,
            **({"clip_weights": folder} if on_vilt else {}),
            "data_root": str(source.root),
            "modalities": list(source.modalities),
            "seed": seed,
            **options,
        }
        decisive = identity_of(Settings.of(config))
        key = _sha256({"options": decisive, "data": source.fingerprint, "weights": weights})
        config["exp_name"] = key[:16]
        return Job(name, config, follow_up, dict(follow_options or {}))


def find_sources(settings: Settings, table: PaperTable) -> list[Source]:
    """Opens the tables ``<data_root>/<dataset>``, or ``<dataset>_<protocol>`` where protocols are compared.

    Args:
        settings: ``data_root``, ``modalities``, and which ``datasets`` (empty: the table's) and ``protocols``.
        table: What the runs are for.

    Raises:
        MamolError: Some are not there, of another protocol, or have too few modalities.
    """
    root = Path(settings.data.data_root or "datasets")
    wanted = [
        (name, protocol, root / (f"{name}_{protocol}" if protocol else name))
        for name in settings.reproduce.datasets or table.datasets
        for protocol in settings.reproduce.protocols or ("",)
    ]
    absent = [_command(*each) for each in wanted if not (each[2] / "train.arrow").is_file()]
    if absent:
        raise MamolError(f"no tables in {root} for some datasets; build them: {'; '.join(absent)}")
    return [_source(settings, table, *each) for each in wanted]


def _source(settings: Settings, table: PaperTable, dataset: str, protocol: str, folder: Path) -> Source:
    tables = open_tables(folder)
    info = tables["train"].info
    if protocol and info.protocol != protocol:
        raise MamolError(f"{folder} holds a split by protocol {info.protocol}; {_command(dataset, protocol, folder)}")
    if info.task != table.task:
        raise MamolError(
            f"{settings.reproduce.reproduce} is of data whose labels are {table.task!r}: {folder} holds "
            f"{info.dataset}, whose labels are {info.task!r}; give datasets= of that kind"
        )
    asked = settings.data.modalities
    modalities = asked if len(asked) == table.sensors else table.modalities(dataset, info.names)
    if modalities is None or (asked and modalities != asked) or not set(modalities) <= set(info.names):
        raise MamolError(
            f"{settings.reproduce.reproduce} needs {table.sensors} modalities: {folder} has {', '.join(info.names)}"
            + (f", modalities={','.join(asked)}" if asked else "; give other datasets")
        )
    return Source(dataset, folder.resolve(), info, modalities, fingerprint_of(tables))


def fingerprint_of(tables: Mapping[str, AnyTable]) -> str:
    """sha256 over the samples of all splits and what the tables say of their content; the layout is left out.

    Args:
        tables: Split to table.
    """
    content = {key: value for key, value in tables["train"].info.plain().items() if key not in OF_THE_FILES}
    return _sha256({"info": content, "splits": {name: table.fingerprint for name, table in tables.items()}})


def identity_of(settings: Settings) -> dict[str, Any]:
    """What decides the result of a run, so that a finished one is recognised.

    Options in ``ADDED`` count only where they differ from their defaults, and those in ``RETIRED_DEFAULTS`` with the
    values there: so runs that an earlier version finished are still found.

    Args:
        settings: Of the run.
    """
    defaults = Settings().decisive()
    kept = {
        name: value
        for name, value in settings.decisive().items()
        if name not in ADDED or value != defaults.get(name, None)
    }
    return kept | RETIRED_DEFAULTS


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _command(dataset: str, protocol: str, folder: Path) -> str:
    known = counterpart(dataset) or "…"
    option = f" --protocol {protocol}" if protocol else ""
    return f"python make_arrow.py --dataset {known} --root RAW --out {folder}{option}"
