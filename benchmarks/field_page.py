"""Table and figure of ``benchmarks.field``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.evaluation.markdown import markdown
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import COLOURS
from mamol.evaluation.statistics import mean_std

ALL, ANSWERED = "all", "classified"
MARKERS = "osD^"
ONE = "one model, holes as they are"
WAYS = {
    ONE: ("ours",),
    "(a) incomplete pixels left out": ("complete",),
    "(b) holes filled with the mean": ("filled",),
    "(c) one model per pattern": ("complete", "first", "second"),
}
"""Way to the models that it needs."""
Result = Mapping[str, Any]


def scores(results: Sequence[Result]) -> dict[str, float]:
    """OA in percent of a way with one seed, by natural pattern.

    Args:
        results: Of its models on the same test pixels. Pixels of a pattern that no model answers for are wrong.

    Returns:
        ``ALL``, and each pattern that a model answers for; ``ANSWERED`` is of the pixels of these together.
    """
    tested = results[0]["tested"]
    right = {pattern: count for each in results for pattern, count in each["right"].items()}
    answered = sum(tested[pattern] for pattern in right)
    return {
        ALL: 100 * sum(right.values()) / sum(tested.values()),
        ANSWERED: 100 * sum(right.values()) / answered,
        **{pattern: 100 * count / tested[pattern] for pattern, count in right.items()},
    }


def write_page(out: Path) -> str:
    """Writes ``field.md`` and ``field_ways.png`` of the results that are there.

    Args:
        out: Folder of ``results``.

    Returns:
        The tables.

    Raises:
        MamolError: There is no result.
    """
    results = [json.loads(path.read_text("utf-8")) for path in sorted((out / "results").glob("*.json"))]
    if not results:
        raise MamolError(f"{out}: no results; run python -m benchmarks.field with --root first")
    scenes: dict[str, list[Result]] = {}
    for result in results:
        scenes.setdefault(f"{result['title']}, {result['steps']} steps", []).append(result)
    text = "\n\n".join(_section(title, each) for title, each in scenes.items()) + "\n"
    with replacing(out / "field.md") as temporary:
        temporary.write_text(text, "utf-8")
    save_figure(figure(scenes), out / "field_ways.png")
    return text


def by_seed(results: Sequence[Result], way: str) -> list[list[Result]]:
    """The models of a way, for each seed that has all of them.

    Args:
        results: Of one scene.
        way: A name in ``WAYS``.
    """
    found: dict[int, list[Result]] = {}
    for each in results:
        if each["model"] in WAYS[way]:
            found.setdefault(each["seed"], []).append(each)
    complete = [found[seed] for seed in sorted(found) if len(found[seed]) == len(WAYS[way])]
    return [sorted(each, key=lambda result: WAYS[way].index(result["model"])) for each in complete]


def _patterns(results: Sequence[Result]) -> list[str]:
    """All sensors, then each alone, in the table's order."""
    first, second = results[0]["modalities"]
    return [f"{first}+{second}", first, second]


def _section(title: str, results: Sequence[Result]) -> str:
    """Heading, facts and table of a scene."""
    patterns, found = _patterns(results), {way: by_seed(results, way) for way in WAYS}
    ours = {models[0]["seed"]: scores(models)[ALL] for models in found[ONE]}
    rows = [{"way": way, **_row(seeds, patterns, ours if way != ONE else {})} for way, seeds in found.items() if seeds]
    shares = [f"{_heading(pattern)} {_text(_shares(results, pattern), 1)} %" for pattern in patterns]
    about = (
        f"{results[0]['classes']} classes (chance: {100 / results[0]['classes']:.1f} %), "
        f"{sum(results[0]['tested'].values())} test pixels: {', '.join(shares)}."
    )
    return f"### {title}\n\n{about}\n\n{markdown(pd.DataFrame(rows))}"


def _row(seeds: Sequence[Sequence[Result]], patterns: Sequence[str], ours: Mapping[int, float]) -> dict[str, str]:
    """The cells of a way: its models, seed by seed, also against the OA of another way on the same pixels."""
    oas, row = [scores(each) for each in seeds], {"seeds": str(len(seeds))}
    pairs = [(models[0]["seed"], oa[ALL]) for models, oa in zip(seeds, oas, strict=True)]
    differences = [oa - ours[seed] for seed, oa in pairs if seed in ours]
    for column in (ALL, ANSWERED, *patterns):
        values = [oa[column] for oa in oas if column in oa]
        row[_heading(column)] = _text(values) if values else "not classified"
        if column == ALL:
            row["less one model"] = _text(differences) if differences else ""
    samples = [mean_std([each["trained_on"] for each in model])[0] for model in zip(*seeds, strict=True)]
    return row | {
        "training pixels": ", ".join(f"{each:.0f}" for each in samples),
        "trained parameters": f"{sum(each['parameters'] for each in seeds[0]):,}",
        "training (s)": _text([sum(each["seconds"] for each in models) for models in seeds], 0),
        "processor (s)": _text([sum(each["processor_seconds"] for each in models) for models in seeds], 0),
    }


def _shares(results: Sequence[Result], pattern: str) -> list[float]:
    """Percent of the test pixels that have a pattern, seed by seed."""
    tested = {each["seed"]: each["tested"] for each in results}
    return [100 * each.get(pattern, 0) / sum(each.values()) for each in tested.values()]


def _heading(column: str) -> str:
    """What readers call a pattern."""
    if column in (ALL, ANSWERED):
        return column
    return column.replace("+", " and ") if "+" in column else f"{column} alone"


def _text(values: Sequence[float], digits: int = 2) -> str:
    mean, deviation = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def figure(scenes: Mapping[str, Sequence[Result]]) -> Figure:
    """A dot for every way and pattern, with the standard deviation over the seeds.

    Args:
        scenes: Title to results.
    """
    drawn = Figure(figsize=(4.6 * len(scenes) + 0.6, 4.4), layout="constrained")
    for axes, (title, results) in zip(drawn.subplots(1, len(scenes), squeeze=False)[0], scenes.items(), strict=True):
        _dots(axes, results)
        axes.set_title(f"{title} (random frozen weights)", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return drawn


def _dots(axes: Axes, results: Sequence[Result]) -> None:
    columns = [ALL, *_patterns(results)]
    for number, way in enumerate(WAYS):
        seeds = [scores(each) for each in by_seed(results, way)]
        points = [(row, *mean_std([oa[c] for oa in seeds])) for row, c in enumerate(columns) if seeds and c in seeds[0]]
        axes.errorbar(
            [mean for _, mean, _ in points],
            [row + 0.16 * (number - (len(WAYS) - 1) / 2) for row, _, _ in points],
            xerr=[deviation or 0 for *_, deviation in points],
            fmt=MARKERS[number],
            color=COLOURS[number],
            capsize=3,
            label=way,
        )
    axes.set_yticks(range(len(columns)), [_heading(column) for column in columns])
    axes.set(xlabel="OA (%)", ylim=(len(columns) - 0.5, -0.5))
    for row in range(1, len(columns)):
        axes.axhline(row - 0.5, color="0.85", lw=0.8)
    axes.grid(axis="x", alpha=0.3)
