"""Accuracy against the missing rate, and the experts: scale, intervals, chance, and what there is to see."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from mamol.evaluation.plots_missing import accuracy_plot, routing_plot
from mamol.evaluation.statistics import chance_level, wilson

KINDS = ("hsi", "lidar", "both")
RATIOS = (0.0, 0.5, 0.9)


def grid(score: str = "OA", kinds: tuple[str, ...] = KINDS) -> pd.DataFrame:
    rows = [
        {"type": kind, "ratio": ratio, "n": 200, score: 99 - 30 * ratio - i}
        for i, kind in enumerate(kinds)
        for ratio in RATIOS
    ]
    return pd.DataFrame(rows)


def patterns(score: str = "OA") -> pd.DataFrame:
    return pd.DataFrame({"present": ["hsi+lidar", "hsi", "lidar"], "n": 200, score: [99.0, 80.0, np.nan]})


def drawn(score: str = "OA", classes: int = 8) -> Figure:
    figure = accuracy_plot(grid(score), patterns(score), "test of mamol on Trento", score, chance_level(score, classes))
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("score", ["OA", "F1_macro"])
def test_the_axis_is_the_whole_scale(score: str) -> None:
    assert [axes.get_ylim() for axes in drawn(score).axes] == [(0, 100)] * 2


@pytest.mark.parametrize(("score", "classes", "level"), [("OA", 8, 12.5), ("accuracy", 2, 50.0), ("AUROC", 2, 50.0)])
def test_guessing_is_a_line_that_says_so(score: str, classes: int, level: float) -> None:
    figure = drawn(score, classes)
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and set(line.get_ydata()) == {level}]
        assert len(lines) == 1
    assert f"guessing: {level:.1f} %" in [text.get_text() for text in figure.axes[0].texts]


def test_a_score_of_unknown_chance_has_no_line() -> None:
    assert chance_level("F1_macro", 23) is None
    assert [text.get_text() for text in drawn("F1_macro").axes[0].texts] == []


def test_shares_of_the_samples_have_wilson_s_interval() -> None:
    curves, points = drawn().axes
    bands = [band for band in curves.collections if isinstance(band, PolyCollection)]
    assert len(bands) == len(KINDS)
    low, high = wilson([99.0, 84.0, 72.0], 200)
    edges = bands[0].get_paths()[0].vertices
    for ratio, ends in zip(RATIOS, zip(low, high, strict=True), strict=True):
        assert set(np.round(edges[np.isclose(edges[:, 0], 100 * ratio), 1], 6)) == set(np.round(ends, 6))
    (bars,) = [c for c in points.collections if len(c.get_paths()) >= 2]
    low, high = wilson([99.0, 80.0], 200)
    np.testing.assert_allclose([path.vertices[:, 1] for path in bars.get_paths()[:2]], np.transpose([low, high]))
    assert "95 % Wilson" in drawn().get_supxlabel()


@pytest.mark.parametrize("score", ["AUROC", "F1_macro"])
def test_other_scores_have_none(score: str) -> None:
    figure = drawn(score)
    assert not [band for band in figure.axes[0].collections if isinstance(band, PolyCollection)]
    assert figure.get_supxlabel() == ""


def test_the_legend_says_what_both_is_and_covers_nothing() -> None:
    names = [*KINDS, *("+".join(two) for two in product(("hsi", "multispectral", "thermal"), repeat=2))]
    figure = accuracy_plot(grid(kinds=tuple(names)), patterns(), "test of mamol on Trento", "OA", 12.5)
    FigureCanvasAgg(figure).draw()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    said = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert said[:3] == ["hsi", "lidar", "both: any incomplete pattern, evenly"]
    parts = [legend.get_window_extent(), *(axes.get_window_extent() for axes in figure.axes)]
    assert not any(a.overlaps(b) for a, b in combinations(parts, 2))
    assert all(figure.bbox.padded(1).containsx(x) for part in parts for x in part.intervalx)


@pytest.mark.parametrize("panels", [1, 3, 7])
@pytest.mark.parametrize("experts", [2, 8])
def test_the_experts_have_a_sentence_on_what_to_see(panels: int, experts: int) -> None:
    rows = [
        {"layer": layer, "pattern": f"pattern {p}", "expert": expert, "top1_share": 1 / experts}
        for p in range(panels)
        for layer in range(6, 12)
        for expert in range(experts)
    ]
    figure = routing_plot(pd.DataFrame(rows), "routing of mamol on Trento")
    FigureCanvasAgg(figure).draw()
    said = figure.get_supxlabel().replace("\n", " ")
    assert said.startswith("block of the tower (from 0)")
    assert "Where a column differs from panel to panel, the choice depends on what is missing" in said
    sentence = figure._supxlabel.get_window_extent()  # type: ignore[attr-defined]
    assert sentence.x0 >= 0
    assert sentence.x1 <= figure.bbox.x1
    assert not any(axes.get_tightbbox().overlaps(sentence) for axes in figure.axes)
    squares = [axes.get_window_extent() for axes in figure.axes[:panels]]
    assert min(box.height for box in squares) / figure.dpi / experts > 0.25, "rows high enough for their numbers"
