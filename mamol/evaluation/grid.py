"""``evaluate``: one checkpoint at every missing rate and type."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.core.files import alone, replacing
from mamol.core.settings import Settings
from mamol.core.task import TASKS, Task
from mamol.data.batches import Masks
from mamol.data.missing import Mask
from mamol.data.tables import AnyTable
from mamol.evaluation.examples import examples_of
from mamol.evaluation.markdown import markdown
from mamol.evaluation.patterns import all_patterns, evaluate_patterns, natural_or_all, under_mask
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import accuracy_plot
from mamol.evaluation.statistics import chance_level, interval_text
from mamol.evaluation.text import INTERVAL
from mamol.evaluation.trained import Trained, open_trained
from mamol.training.machine import arithmetic, batch_on

ALL = "all"  # in the column ``present``: all samples together


def evaluate(settings: Settings) -> str:
    """Tests a checkpoint over a grid of missing rates and types and under every pattern by itself.

    Every number equals that of a test with ``test_only=True`` at this rate and type: same masks, same arithmetic. (In
    half precision a batch of other composition may round a near tie to another class.) The table is read once.

    Args:
        settings: ``load_path``, ``data_root``, ``evaluate_ratios``, ``evaluate_types`` (empty: all of ``all_types``).

    Returns:
        The tables for people, and the folder with ``grid.csv``, ``patterns.csv``, ``evaluation.md`` and
        ``accuracy.png``; where the table has several scenes, also ``scenes.csv``; of tiles, also examples.

    Raises:
        MamolError: Something the user gave does not fit; nothing is written then.
    """
    trained = open_trained(settings, "evaluate")
    asked = settings.evaluate
    masks = draw_masks(trained, asked.evaluate_ratios, asked.evaluate_types)
    with alone(trained.folder("evaluation")) as folder:
        return _write(folder, trained, all_predictions(trained), masks)


def all_predictions(
    trained: Trained, within: Sequence[str] | None = None, table: AnyTable | None = None
) -> NDArray[np.float32]:
    """Every sample under every pattern: (P, N, K), as of ``evaluate_patterns``.

    Args:
        trained: Checkpoint and tables.
        within: As there.
        table: The samples; None: those of the test.
    """
    settings = trained.settings
    with arithmetic(settings.training.precision, trained.device):
        return evaluate_patterns(
            trained.network,
            trained.table if table is None else table,
            trained.modalities,
            trained.device,
            settings.machine.progress_bar,
            batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
            workers=settings.machine.num_workers,
            within=within,
        )


Drawn = Mapping[tuple[str, float], Mask]


def draw_masks(trained: Trained, ratios: Sequence[float], types: Sequence[str] = ()) -> Drawn:
    """Which modalities go missing at every missing type and rate; mistakes in them are told here.

    Args:
        trained: Checkpoint and tables.
        ratios: Missing rates.
        types: Missing types; none are all.

    Returns:
        Type and rate to (N, M) bool, True where present.

    Raises:
        MamolError: A type names a modality that is not there, or would leave nothing.
    """
    settings = trained.settings
    return {
        (kind, ratio): Masks(
            trained.table,
            trained.modalities,
            "test",
            replace(settings.missing, test_ratio=ratio, test_type=kind),
            settings.run.seed,
        ).first
        for kind in types or all_types(trained.modalities)
        for ratio in ratios
    }


def score_grid(probabilities: NDArray[np.float32], trained: Trained, masks: Drawn) -> pd.DataFrame:
    """The scores at every missing rate and type.

    Args:
        probabilities: Of ``all_predictions``.
        trained: Checkpoint and tables.
        masks: Of ``draw_masks``.

    Returns:
        A row per ``type``, ``ratio`` and ``present`` (``all`` samples, then each pattern): ``n`` and the task's scores.
    """
    rows = [
        {"type": kind, "ratio": ratio, **row}
        for (kind, ratio), mask in masks.items()
        for row in _rows(score(probabilities, trained.table, trained.modalities, mask), trained.task.scores)
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(trained.task.scores, float))


def score_scenes(probabilities: NDArray[np.float32], trained: Trained, masks: Drawn) -> pd.DataFrame:
    """The scores of each scene at every missing rate and type.

    Args:
        probabilities: Of ``all_predictions``.
        trained: Checkpoint and tables.
        masks: Of ``draw_masks``.

    Returns:
        A row per ``type``, ``ratio`` and ``scene``: ``n`` and the task's scores; none where the table has one scene.
    """
    table, task = trained.table, trained.task
    rows = [
        {"type": kind, "ratio": ratio, "scene": name, **row}
        for (kind, ratio), mask in masks.items()
        for name, row in task.per_scene(under_mask(probabilities, mask), table.label, table.parts).items()
    ]
    frame = pd.DataFrame(rows, columns=["type", "ratio", "scene", "n", *task.scores])
    return frame.astype(dict.fromkeys(task.scores, float))


def all_types(modalities: Sequence[str]) -> tuple[str, ...]:
    """Every missing type: each modality, every ``a+b`` that leaves something, and ``both``.

    Args:
        modalities: Names in the order of the features.
    """
    some = ["+".join(gone) for size in range(1, len(modalities)) for gone in combinations(modalities, size)]
    return (*some, "both")


def score(
    probabilities: NDArray[np.float32],
    table: AnyTable,
    modalities: Sequence[str],
    mask: Mask,
    samples: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """The scores at given missing modalities.

    Args:
        probabilities: (P, N, K) of ``evaluate_patterns``.
        table: The samples.
        modalities: Names in the order of the features, M of them.
        mask: (N, M) bool, True where present.
        samples: Only these; None: all.

    Returns:
        As ``mamol.core.task.Task.report``.
    """
    info = table.info
    index = np.arange(len(table)) if samples is None else samples
    chosen, group = under_mask(probabilities, mask)[index], None if table.group is None else table.group[index]
    scenes = {name: of_scene[index] for name, of_scene in table.parts.items()}
    task, label = TASKS.find(info.task), table.label[index]
    return task.report(chosen, label, mask[index], modalities, info.classes, group, scenes)


def _rows(result: dict[str, Any], scores: Sequence[str]) -> list[dict[str, Any]]:
    """One row for all samples and one per pattern."""
    patterns = {ALL: result, **result["per_pattern"]}
    return [{"present": name, **{key: row[key] for key in ("n", *scores)}} for name, row in patterns.items()]


def score_patterns(
    probabilities: NDArray[np.float32], trained: Trained, within: Sequence[str] | None = None
) -> pd.DataFrame:
    """The scores under each pattern by itself, of all samples that can be under it.

    Args:
        probabilities: Of ``all_predictions``.
        trained: Checkpoint and tables.
        within: As they were predicted.

    Returns:
        A row per pattern, ``present``: ``n``, the task's scores, and one score of each class.
    """
    rows = []
    natural = natural_or_all(trained.table, trained.modalities)
    for pattern in all_patterns(len(trained.modalities)):
        able = np.flatnonzero((natural | ~pattern).all(1))
        present = [name for name, there in zip(trained.modalities, pattern, strict=True) if there]
        if not len(able) or (within is not None and not set(present) <= set(within)):
            continue
        mask = np.tile(pattern, (len(trained.table), 1))
        result = score(probabilities, trained.table, trained.modalities, mask, able)
        ((name, scores),) = result["per_pattern"].items()
        rows.append({"present": name, **scores, **result["per_class"]})
    return pd.DataFrame(rows).astype(dict.fromkeys(trained.task.scores, float))


def _write(folder: Path, trained: Trained, probabilities: NDArray[np.float32], masks: Drawn) -> str:
    grid, patterns = score_grid(probabilities, trained, masks), score_patterns(probabilities, trained)
    scenes = score_scenes(probabilities, trained, masks)
    title = trained.title("test")
    text = _as_text(title, trained, grid[grid["present"] == ALL], patterns, scenes)
    of_scenes = {"scenes": scenes} if len(scenes) else {}
    for name, frame in {"grid": grid, "patterns": patterns, **of_scenes}.items():
        with replacing(folder / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    score = trained.task.selection
    chance = chance_level(score, len(trained.classes))
    drawn = accuracy_plot(grid[grid["present"] == ALL], patterns, title, score, chance)
    for name, figure in {"accuracy": drawn, **examples_of(trained.task, trained, probabilities)}.items():
        save_figure(figure, folder / f"{name}.png")
    with replacing(folder / "evaluation.md") as temporary:
        temporary.write_text(text + "\n", "utf-8")
    return f"{text}\n\n{folder}"


def _as_text(title: str, trained: Trained, grid: pd.DataFrame, patterns: pd.DataFrame, scenes: pd.DataFrame) -> str:
    parts = [
        f"# {title[0].upper()}{title[1:]}",
        f"Checkpoint {trained.checkpoint.name}, {len(trained.table)} test samples, "
        f"missing patterns drawn with seed {trained.settings.run.seed}.",
    ]
    for name in trained.task.scores:
        parts += [f"## {name}, {_unit(name)}, by what goes missing and by missing rate"]
        parts += [markdown(_wide(grid, ["type"], name))]
    if len(scenes):
        parts += [f"## {trained.task.selection} of each scene, {_unit(trained.task.selection)}"]
        parts += [markdown(_wide(scenes, ["scene", "type"], trained.task.selection))]
    parts += ["## Every sample under each pattern", markdown(_with_intervals(patterns, trained.task))]
    if set(trained.task.shares) & set(trained.task.scores):
        parts += ["Intervals are Wilson's; all patterns are tested on the same samples."]
    return "\n\n".join(parts)


def _unit(score: str) -> str:
    return "×100" if score == "kappa" else "in percent"


def _wide(rows: pd.DataFrame, by: list[str], score: str) -> pd.DataFrame:
    """A line per scene or missing type, in the order of the rows, and a column per missing rate."""
    wide = rows.pivot(index=by, columns="ratio", values=score).loc[rows.set_index(by).index.unique()]
    wide.columns = [f"{100 * ratio:g} %" for ratio in wide.columns]
    return wide.reset_index().rename(columns={"type": "missing"})


def _with_intervals(patterns: pd.DataFrame, task: Task) -> pd.DataFrame:
    columns = {name: patterns[name] for name in ("present", "n")}
    for name in task.scores:
        columns[name] = patterns[name]
        if name in task.shares:
            texts = [interval_text(value, n) for value, n in zip(patterns[name], patterns["n"], strict=True)]
            columns[f"{name}, {INTERVAL}"] = pd.Series(texts, index=patterns.index)
    return pd.DataFrame(columns)
