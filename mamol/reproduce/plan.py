"""From a table of the paper to runs: which there are, and by what a finished one is recognised."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mamol.data.tables import AnyInfo, AnyTable, open_tables
from mamol.errors import MamolError
from mamol.evaluation.reported import counterpart
from mamol.files import sha256_of
from mamol.launch.job import Job
from mamol.reproduce.tables import TABLES, VARIANTS, PaperTable, Row
from mamol.settings import Settings

# Options that say where and how a run is done, or belong to other commands; all others make it another run.
# fmt: off
NOT_OF_THE_RESULT = frozenset((
    "exp_name", "log_dir", "data_root", "dataset", "clip_weights", "load_path", "resume_from", "test_only",
    "num_gpus", "num_nodes", "cpu_processes", "num_workers", "progress_bar",
    "scene", "present", "evaluate_ratios", "evaluate_types", "routing_class",
    "reproduce", "datasets", "methods", "rates", "protocols", "seeds", "dry_run", "launcher", "jobs", "slurm",
))
# fmt: on
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
    info: AnyInfo
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
    """

    name: str
    table: PaperTable
    settings: Settings
    cells: list[Cell]

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
        return Path(self.settings.log_dir) / self.name


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
    if not settings.reproduce:
        raise MamolError(f"reproduce needs the name of a table: python run.py reproduce with {', '.join(TABLES)}")
    table = TABLES[settings.reproduce]
    methods = settings.methods or table.methods
    unknown = [name for name in methods if name not in VARIANTS]
    if unknown:
        raise MamolError(f"methods={','.join(methods)}: unknown {', '.join(unknown)}; known: {', '.join(VARIANTS)}")
    base = {**json.loads(json.dumps(config)), **FRESH, "log_dir": str(Path(settings.log_dir).resolve() / "runs")}
    weights = Path(settings.clip_weights)
    if weights.exists():
        base["clip_weights"] = str(weights.resolve())
    identity = sha256_of(weights) if weights.is_file() else settings.clip_weights
    sources = find_sources(settings, table)
    rates = settings.rates if settings.rates is not None else table.rates
    cells = [
        Cell(source, row, method, seed, _job(table, base, identity, source, row, method, seed))
        for seed in range(settings.seed, settings.seed + settings.seeds)
        for source in sources
        for row in table.rows(source.modalities, rates)
        for method in methods
    ]
    return Plan(settings.reproduce, table, settings, cells)


def find_sources(settings: Settings, table: PaperTable) -> list[Source]:
    """Opens the tables ``<data_root>/<dataset>``, or ``<dataset>_<protocol>`` where protocols are compared.

    Raises:
        MamolError: Some are not there, of another protocol, or have too few modalities.
    """
    root = Path(settings.data_root or "datasets")
    wanted = [
        (name, protocol, root / (f"{name}_{protocol}" if protocol else name))
        for name in settings.datasets or table.datasets
        for protocol in settings.protocols or ("",)
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
    asked = settings.modalities
    modalities = asked if len(asked) == table.sensors else table.modalities(dataset, tuple(info.modalities))
    if modalities is None or (asked and modalities != asked) or not set(modalities) <= set(info.modalities):
        raise MamolError(
            f"{settings.reproduce} needs {table.sensors} modalities: {folder} has {', '.join(info.modalities)}"
            + (f", modalities={','.join(asked)}" if asked else "; give other datasets")
        )
    return Source(dataset, folder.resolve(), info, modalities, fingerprint_of(tables))


def fingerprint_of(tables: Mapping[str, AnyTable]) -> str:
    """sha256 over the samples of all splits and what the tables say of their content; the layout is left out."""
    content = {key: value for key, value in asdict(tables["train"].info).items() if key not in OF_THE_FILES}
    return _sha256({"info": content, "splits": {name: table.fingerprint for name, table in tables.items()}})


def _job(
    table: PaperTable, base: dict[str, Any], weights: str, source: Source, row: Row, method: str, seed: int
) -> Job:
    config = {
        **base,
        "data_root": str(source.root),
        "modalities": list(source.modalities),
        "seed": seed,
        **row.options,
        **VARIANTS[method],
    }
    decisive = {key: value for key, value in asdict(Settings.of(config)).items() if key not in NOT_OF_THE_RESULT}
    key = _sha256({"options": decisive, "data": source.fingerprint, "weights": weights})
    config["exp_name"] = key[:16]
    place = ", ".join(str(value) for value in (source.dataset, source.info.protocol, *row.labels.values()))
    options = table.follow_options(source.modalities, len(source.info.classes))
    return Job(f"{method} on {place}, seed {seed}", config, table.follow_up, options)


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _command(dataset: str, protocol: str, folder: Path) -> str:
    known = counterpart(dataset) or "…"
    option = f" --protocol {protocol}" if protocol else ""
    return f"python make_arrow.py --dataset {known} --root RAW --out {folder}{option}"
