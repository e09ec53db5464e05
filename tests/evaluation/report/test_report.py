"""What a page holds: the numbers of predict and evaluate, Shapley values, intervals, sizes, and what is refused."""

import base64
import json
import re
import zlib
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

from mamol.api.made import Made
from mamol.core.calibration import AS_IS, ByPattern, Curve, PatternCalibration
from mamol.core.errors import MamolError
from mamol.data.scenes import load_scene
from mamol.evaluation.report import beside
from mamol.evaluation.report.intervals import interval, redrawn, scores_of
from mamol.evaluation.report.maps import order_of, scene_view
from mamol.evaluation.report.packing import eight_bits, every, pack, unpack
from mamol.evaluation.report.page import render
from mamol.evaluation.report.pixels import Grid
from mamol.evaluation.report.shapley import shapley
from mamol.evaluation.report.trust import RISKS, trust
from mamol.evaluation.report.wanted import wanted_patterns
from mamol.tasks.metrics import recall, scores
from tests.evaluation.report.conftest import PATTERNS, Reported
from tests.evaluation.report.large import SHAPE, Large
from tests.placed import settings_of


@cache
def content_of(page: Path) -> dict[str, Any]:
    """What the programs of a page read."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def band(folder: Path, name: str, number: int | None = 1) -> np.ndarray:
    with rasterio.open(folder / f"Valley_{name}.tif") as file:
        return file.read(number)


def test_maps_of_every_pattern_are_those_of_predict(reported: Reported) -> None:
    scene = content_of(reported.page)["scene"]
    assert tuple(scene["patterns"]) == PATTERNS
    drawn = reported.run / "maps"
    for name, found in scene["patterns"].items():
        np.testing.assert_array_equal(unpack(found["classes"]), band(drawn, name))
        np.testing.assert_array_equal(unpack(found["confidence"]), band(drawn, f"{name}_confidence"))
        wanted = band(drawn, f"{name}_probabilities", None).astype(float)
        wanted = np.where(wanted == 65535, 0, wanted) / 10_000
        assert np.abs(unpack(found["probabilities"]) / 255 - wanted).max() <= 0.5 / 255 + 1e-6
        table = pd.read_csv(drawn / f"Valley_{name}.csv")
        assert found["pixels"] == table["pixels"].tolist()
        np.testing.assert_allclose(found["hectares"], table["area_ha"], atol=1e-4)
    np.testing.assert_array_equal(unpack(scene["natural"]), band(drawn, "hsi+lidar+sar_sensors"))
    assert len(np.unique(unpack(scene["natural"]))) > 1  # holes


def test_labels_and_measured_values_are_those_of_the_scene(reported: Reported) -> None:
    view, scene = content_of(reported.page)["scene"], load_scene("scene", reported.scene.parent)
    assert scene.labels is not None
    np.testing.assert_array_equal(unpack(view["labels"]), scene.labels)
    for name, found in view["sensors"].items():
        raster = scene.rasters[name].astype(float)[..., [number - 1 for number in found["bands"]]]
        steps = unpack(found["values"]).transpose(1, 2, 0)
        np.testing.assert_array_equal(steps == 0, np.isnan(raster))
        low, high = np.array(found["ends"]).T
        values = low + (steps.astype(float) - 1) / 254 * (high - low)
        there = steps > 0
        assert (np.abs(values - raster)[there] <= np.broadcast_to((high - low) / 508 + 1e-6, raster.shape)[there]).all()


def test_scores_of_every_pattern_and_rate_are_those_of_evaluate(reported: Reported) -> None:
    content, folder = content_of(reported.page), reported.run / "evaluation"
    table = pd.read_csv(folder / "patterns.csv").set_index("present")
    assert list(content["patterns"]) == list(table.index)
    for name, found in content["patterns"].items():
        row = table.loc[name]
        assert found["n"] == row["n"] == sum(map(sum, found["confusion"]))
        for score in ("OA", "AA", "kappa"):
            assert found["scores"][score]["value"] == pytest.approx(row[score])
            low, high = found["scores"][score]["interval"]
            assert low <= row[score] <= high
        for name_of, each in zip(content["classes"], found["classes"], strict=True):
            assert each["value"] == pytest.approx(row[name_of])
    grid = pd.read_csv(folder / "grid.csv")
    rows = grid[grid["present"] == "all"]
    assert [row["OA"] for row in content["rates"]] == pytest.approx(rows["OA"].tolist())
    assert [row["type"] for row in content["rates"]] == rows["type"].tolist()


def test_another_run_at_every_rate_has_the_scores_of_its_evaluate(reported: Reported) -> None:
    ((other,), mine) = content_of(reported.page)["others"], content_of(reported.page)["rates"]
    grid = pd.read_csv(reported.other / "evaluation" / "grid.csv")
    rows = grid[grid["present"] == "all"]
    assert [row["OA"] for row in other["rates"]] == pytest.approx(rows["OA"].tolist())
    assert [(row["type"], row["ratio"]) for row in other["rates"]] == [(row["type"], row["ratio"]) for row in mine]
    assert [row["OA"] for row in other["rates"]] != [row["OA"] for row in mine]


def test_the_same_sensors_are_missing_in_every_run_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "rate_scores", lambda other, masks: masks)
    masks = {("hsi", 0.5): np.array([[False, True, True], [True, True, True]])}

    def rates(*modalities: str) -> Any:
        other: Any = SimpleNamespace(trained=SimpleNamespace(modalities=modalities))
        return beside._rates(other, ("hsi", "lidar", "sar"), masks)

    np.testing.assert_array_equal(rates("sar", "lidar", "hsi")["hsi", 0.5], [[True, True, False], [True, True, True]])
    assert rates("hsi", "lidar") is None


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["runs/a"], ["a"]),
        (["runs/a", "b"], ["a", "b"]),
        (["one/x/run", "two/x/run/", "two/y/run"], ["one/x/run", "two/x/run", "two/y/run"]),
        (["a/run", "b/run", "run"], ["a/run", "b/run", "run"]),
        (["a", "a"], ["a", "a"]),
    ],
)
def test_compared_runs_are_told_apart(paths: list[str], names: list[str]) -> None:
    assert beside.told_apart(paths) == names


def test_another_run_stands_beside_it_with_a_test(reported: Reported) -> None:
    ((other,), patterns) = content_of(reported.page)["others"], content_of(reported.page)["patterns"]
    assert other["name"] == reported.other.name
    for name, row in other["patterns"].items():
        difference = patterns[name]["scores"]["OA"]["value"] - row["scores"]["OA"]
        assert row["difference"] == pytest.approx(difference)
        assert row["interval"][0] <= difference <= row["interval"][1]
        assert 0 <= row["p_value"] <= 1


def test_the_worth_of_the_sensors_adds_up(reported: Reported) -> None:
    worth = content_of(reported.page)["worth"]
    assert sum(row[0] for row in worth["sensors"].values()) == pytest.approx(worth["all"] - worth["none"])
    assert worth["none"] == pytest.approx(100 / 6)


def test_the_page_says_what_it_is_of_and_asks_nothing_of_a_network(reported: Reported) -> None:
    text = reported.page.read_text("utf-8")
    metrics = json.loads((reported.run / "metrics.json").read_text())
    for told in (metrics["backbone"]["sha256"], metrics["data"]["fingerprint"], "python run.py report with"):
        assert told in text
    assert "Stand-in: the frozen weights are random" in text
    assert "default-src &#39;none&#39;" in text
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text)
    assert reported.text.startswith(str(reported.page))


def test_an_earlier_page_stays(reported: Reported, bare: Made) -> None:
    assert [reported.page.parent.name, bare.folder.name] == ["report", "report_2"]
    assert content_of(reported.page)["scene"] is not None
    content = content_of(bare.folder / "report.html")
    assert content["scene"] is None
    assert content["drawn"] == ["sar"]


def test_a_run_that_needs_a_window_for_every_pixel_draws_a_preview(finished_run: Path, corner_folder: Path) -> None:
    settings = settings_of(finished_run, corner_folder)
    order = order_of(settings, [["hsi", "sar"]])
    view = scene_view(order, 5)
    (whole,) = order.maps
    block = whole.classifier.block(whole.frame, 0, whole.frame.height)
    grid = Grid.of(8, 10, 2)
    assert (view["preview"], view["step"], view["stride"]) == (True, 2, None)
    found = unpack(view["patterns"]["hsi+sar"]["classes"])
    np.testing.assert_array_equal(found, block.classes[grid.rows][:, grid.cols])


@pytest.mark.parametrize("players", [1, 3, 4])
def test_shapley_values_are_efficient_symmetric_and_zero_for_a_dummy(players: int) -> None:
    rng = np.random.default_rng(players)
    worths = {some: rng.normal(size=2) for size in range(players + 1) for some in combinations(range(players), size)}

    def worth(some: frozenset[int]) -> np.ndarray:
        return worths[tuple(sorted(some))]

    found = shapley(players, worth)
    np.testing.assert_allclose(found.sum(0), worth(frozenset(range(players))) - worth(frozenset()))
    # Player n does nothing, player n + 1 the same as player 0 where that one is not there.
    more = shapley(players + 1, lambda some: worth(some - {players}))
    np.testing.assert_allclose(more[players], 0, atol=1e-12)
    np.testing.assert_allclose(more[:players], found)
    twins = shapley(
        players + 1,
        lambda some: worth(frozenset({0} & some or {0} if players in some else {0} & some) | (some - {players})),
    )
    np.testing.assert_allclose(twins[0], twins[players])


def test_shapley_values_of_a_known_game() -> None:
    """The glove game: one left glove, two right ones; a pair is worth 1."""
    found = shapley(3, lambda some: np.array(float(0 in some and bool({1, 2} & some))))
    np.testing.assert_allclose(found, [2 / 3, 1 / 6, 1 / 6])


def test_scores_of_many_matrices_are_those_of_each() -> None:
    counts = np.array([[8, 2, 0], [1, 5, 4], [0, 0, 0]])
    many = redrawn(counts)
    np.testing.assert_array_equal(many.sum((1, 2)), 20)
    found = scores_of(many)
    for i in range(0, 1000, 251):
        matrix = many[i].astype(int)
        one = scores(matrix)
        assert [found[name][i] for name in ("OA", "AA", "kappa")] == pytest.approx(
            [one[n] for n in ("OA", "AA", "kappa")]
        )
        assert found["recall"][i][:2] == pytest.approx(recall(matrix)[:2])
    low, high = interval(found["OA"]) or [0, 0]
    assert 40 < low < 65 < high < 90
    assert interval(found["recall"][:, 2]) is None


def test_tiles_are_drawn_whole() -> None:
    tiles = np.zeros((2, 2, 2), int)
    tiles[0, 0, 0], tiles[1, 1, 0] = 10, 30
    assert set(redrawn(tiles).sum((1, 2)).tolist()) == {20.0, 40.0, 60.0}


def test_thresholds_come_from_the_calibration_or_from_the_samples_themselves() -> None:
    said = np.array([[0.95, 0.05], [0.9, 0.1], [0.8, 0.2], [0.6, 0.4]], np.float32)
    own = trust(said, np.array([0, 0, 0, 1]), AS_IS, "hsi")
    assert own["accepted"] == pytest.approx([0.8] * len(RISKS))
    assert (own["decided"], own["wrong"]) == ([0.75] * len(RISKS), [0.0] * len(RISKS))
    assert own["coverage"] == [0.25, 0.5, 0.75, 1.0]
    known = PatternCalibration(1.0, (), Curve((0.92, 0.5), (0.5, 1.0), (0.04, 0.3)))
    fitted = ByPattern(("hsi",), known, {"hsi": known})
    found = trust(said, np.array([0, 0, 0, 1]), fitted, "hsi")
    assert found["accepted"] == [None, None, 0.92, 0.92, 0.92]
    assert found["decided"] == [0, 0, 0.25, 0.25, 0.25]
    assert found["wrong"] == [None, None, 0, 0, 0]


def test_set_sizes_are_those_of_predict(reported: Reported) -> None:
    for name, found in content_of(reported.page)["scene"]["patterns"].items():
        np.testing.assert_array_equal(unpack(found["sets"]), band(reported.run / "maps", f"{name}_set_size"))


def test_arrays_come_back_and_points_stand_in_the_middle() -> None:
    for array in (np.arange(300).reshape(20, 15).astype(np.uint16), np.eye(3, dtype=np.uint8)):
        np.testing.assert_array_equal(unpack(pack(array)), array)
    assert every(7, 3).tolist() == [1, 4, 6]
    assert every(5, 5).tolist() == [0, 1, 2, 3, 4]
    steps, ends = eight_bits(np.array([[2.0, np.nan, 4.0]], np.float32))
    assert (steps.tolist(), ends) == ([[1, 0, 255]], [[2.0, 4.0]])


def test_patterns_of_many_sensors_are_chosen() -> None:
    names = ["a", "b", "c", "d", "e"]
    assert len(wanted_patterns(names[:4], ())) == 15
    assert wanted_patterns(names, ("e", "b+a")) == [["a", "b"], ["e"]]
    with pytest.raises(MamolError, match=r"5 sensors have 31 patterns.*patterns=a\+b\+c\+d\+e,a"):
        wanted_patterns(names, ())
    with pytest.raises(MamolError, match="patterns=a\\+z: the checkpoint has no modality z; it has a\\+b"):
        wanted_patterns(["a", "b"], ("a+z",))
    with pytest.raises(MamolError, match="found 17 patterns, a page shows 16 at most"):
        wanted_patterns(names, tuple("+".join(some) for size in (2, 3) for some in combinations(names, size))[:17])


def test_a_page_of_a_million_pixels_stays_below_15_mb(large: Large, reported: Reported) -> None:
    """Worst case: every pixel is noise, which nothing packs; seven patterns of twenty classes."""
    assert len(Grid.of(*SHAPE, large.view["points"]).rows) <= 200
    assert 12e6 < len(large.page(content_of(reported.page)).encode()) < 15e6


def test_names_of_classes_cannot_end_the_data_or_run() -> None:
    page = render(
        {"classes": ["</script><script>alert(1)</script>"]}, {"title": "<b>", "remarks": [], "command": ""}, []
    )
    assert "<script>alert" not in page
    assert "<title>&lt;b&gt;</title>" in page
    charts = re.search(r'id="charts">([^<]*)<', page)
    assert charts
    assert b"plotly.js" in zlib.decompress(base64.b64decode(charts[1]))[:200]
