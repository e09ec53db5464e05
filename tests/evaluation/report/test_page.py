"""The page in a real browser: switches, map, pixel, keyboard, faults for screen readers. One browser and one page."""

import base64
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from mamol.api.made import Made
from tests.evaluation.report.conftest import PATTERNS, SENSORS, Reported
from tests.evaluation.report.large import CLASSES, Large
from tests.evaluation.report.test_report import band, content_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: apt-get install chromium")
WAIT = 60_000  # milliseconds, on a machine with other work


@dataclass
class Told:
    """What a browser told while a page was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser: Browser, path: Path, told: Told, **options: Any) -> Page:
    """A page that is ready."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(WAIT)
    page.on("console", lambda message: told.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.errors.append(str(error)))
    page.on("request", lambda request: told.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    return page


@pytest.fixture(scope="module")
def told() -> Told:
    """Of the page that all tests share."""
    return Told()


@pytest.fixture(scope="module")
def page(browser: Browser, reported: Reported, told: Told) -> Page:
    """The page."""
    return opened(browser, reported.page, told, viewport={"width": 1400, "height": 900}, accept_downloads=True)


@pytest.fixture(autouse=True)
def fresh(page: Page) -> None:
    """All sensors on, the classes shown, nothing beside them."""
    for sensor in SENSORS:
        switch(page, sensor, True)
    page.select_option("#layer", "classes")
    page.select_option("#right", "")


def switch(page: Page, sensor: str, on: bool) -> None:
    button = page.locator(f"[data-sensor={sensor}]")
    if (button.get_attribute("aria-checked") == "true") != on:
        button.click()


def only(page: Page, pattern: str) -> None:
    """Exactly these sensors."""
    names = pattern.split("+")
    for sensor in (*names, *(each for each in SENSORS if each not in names)):
        switch(page, sensor, sensor in names)


def rows(page: Page, box: str) -> list[list[str]]:
    """The texts of a table."""
    found: list[list[str]] = page.evaluate(
        "box => [...document.querySelector(`#${box} table`).rows].map("
        "row => [...row.cells].map(cell => cell.textContent.trim()))",
        box,
    )
    return found


SHOWN = """layer => {
  const picture = page.layers.picture(layer, page.pattern(), page.map.other()), { width, height } = page.content.scene;
  const shown = picture.getContext("2d").getImageData(0, 0, width, height), reader = new FileReader();
  return new Promise(done => {
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(new Blob([shown.data]));
  });
}"""
"""As base64: playwright hands numbers over one by one, a million for seconds."""


def pixels(page: Page, layer: str) -> np.ndarray:
    """The colours that the map has now, as numbers; 0 is nothing."""
    return np.frombuffer(base64.b64decode(page.evaluate(SHOWN, layer)), "<u4")


def words(colours: list[str]) -> np.ndarray:
    """Colours by class code as the canvas has them."""
    parts = [[int(each[at : at + 2], 16) for at in (1, 3, 5)] for each in colours]
    return np.array([0, *((255 << 24) | (b << 16) | (g << 8) | r for r, g, b in parts)], np.uint64)


def test_every_switch_changes_map_and_numbers_to_those_of_the_commands(page: Page, reported: Reported) -> None:
    scores = pd.read_csv(reported.run / "evaluation" / "patterns.csv").set_index("present")
    scene, drawn = content_of(reported.page)["scene"], reported.run / "maps"
    colours, seen = words(scene["colours"]), set()
    for pattern in PATTERNS:
        only(page, pattern)
        classes = band(drawn, pattern)
        assert (pixels(page, "classes") == colours[classes].ravel()).all()
        seen.add(classes.tobytes())
        sure = band(drawn, f"{pattern}_confidence").ravel()
        shown = page.evaluate(
            "name => Array.from({length: page.content.scene.height * page.content.scene.width}, (_, i) => "
            "page.confidence(name, Math.floor(i / page.content.scene.width), i % page.content.scene.width) ?? 255)",
            pattern,
        )
        assert shown == sure.tolist()
        now = {name: value for name, value, *_ in rows(page, "now")[1:]}
        for name in ("OA", "AA", "kappa"):
            assert float(now[name]) == pytest.approx(scores.loc[pattern, name], abs=0.0051)
        table = pd.read_csv(drawn / f"Valley_{pattern}.csv")
        legend = rows(page, "legend")[1:]
        assert [int(row[1]) for row in legend] == [*table["pixels"][1:], table["pixels"][0]]
        assert [float(row[3]) for row in legend[:-1]] == pytest.approx(table["area_ha"][1:].tolist(), abs=0.0051)
        matrix = [[int(cell) for cell in row[1:]] for row in rows(page, "confusion")[1:]]
        assert np.trace(matrix) == pytest.approx(scores.loc[pattern, "OA"] / 100 * scores.loc[pattern, "n"])
        status = page.inner_text("#status")
        mean = sure[sure != 255].mean()
        assert f"With {pattern}: OA {scores.loc[pattern, 'OA']:.1f}" in status
        assert f"mean confidence of the map {mean:.1f} %" in status
    assert len(seen) == len(PATTERNS)


def test_the_last_sensor_stays_on(page: Page) -> None:
    only(page, "sar")
    page.click("[data-sensor=sar]")
    assert page.get_attribute("[data-sensor=sar]", "aria-checked") == "true"
    assert "sar is the last sensor that is on" in page.inner_text("#status")


def test_a_click_shows_the_pixel_under_every_pattern(page: Page, reported: Reported) -> None:
    content, drawn = content_of(reported.page), reported.run / "maps"
    natural = band(drawn, "hsi+lidar+sar_sensors")
    hole = [int(each) for each in np.argwhere(natural & 1 == 0)[0]]
    for row, col in ((15, 4), hole):
        x, y = page.evaluate("([row, col]) => page.map.where(row, col)", [row, col])
        page.locator("#map").scroll_into_view_if_needed()
        page.locator("#map").click(position={"x": x, "y": y})
        said = page.inner_text("#pixel p")
        assert f"row {row}, column {col}." in said
        with rasterio.open(reported.scene.parent / "labels.tif") as file:
            label = int(file.read(1)[row, col])
        assert f"Reference label: {content['classes'][label - 1] if label else 'none here'}." in said
        names = [name for bit, name in enumerate(SENSORS) if natural[row, col] >> bit & 1]
        assert f"Seen by {', '.join(names)}." in said
        found = {line[0]: line[1:] for line in rows(page, "pixel")[1:]}
        assert set(found) == set(PATTERNS)
        for pattern, (uses, name, sure, size, *shares) in found.items():
            code = band(drawn, pattern)[row, col]
            if not code:
                assert (uses, name, sure) == ("nothing", "–", "–")
                continue
            assert name == content["classes"][code - 1]
            assert int(sure) == band(drawn, f"{pattern}_confidence")[row, col]
            assert int(size) == band(drawn, f"{pattern}_set_size")[row, col]
            wanted = band(drawn, f"{pattern}_probabilities", None)[:, row, col] / 100
            assert [float(share) for share in shares] == pytest.approx(wanted.tolist(), abs=0.75)
    assert "hsi nothing" in page.inner_text("#pixel .measured")  # in the hole
    with rasterio.open(reported.scene.parent / "lidar.tif") as file:
        value = float(file.read(1)[hole[0], hole[1]])
    text = page.inner_text("#pixel .measured > div:nth-child(2)")
    assert float(text.split("band 1:")[1].split(",")[0]) == pytest.approx(value, rel=0.02, abs=0.1)


def test_holes_are_holes_in_maps_and_pictures(page: Page, reported: Reported) -> None:
    natural = band(reported.run / "maps", "hsi+lidar+sar_sensors").ravel()
    for bit, sensor in enumerate(SENSORS):
        only(page, sensor)
        unseen = (natural >> bit & 1) == 0
        for layer in ("classes", "confidence", f"picture:{sensor}"):
            np.testing.assert_array_equal(pixels(page, layer) == 0, unseen)
    assert unseen.any()


def test_what_changed_is_the_difference_of_two_maps(page: Page, reported: Reported) -> None:
    only(page, "hsi+lidar")
    page.select_option("#layer", "difference")
    page.select_option("#right", "pattern:lidar+sar")
    mine, theirs = band(reported.run / "maps", "hsi+lidar"), band(reported.run / "maps", "lidar+sar")
    other = (mine != theirs) & (mine > 0) & (theirs > 0)
    assert f"({other.sum()} of {((mine > 0) & (theirs > 0)).sum()})" in page.inner_text("#changes")
    colours = words(content_of(reported.page)["scene"]["colours"])
    shown = pixels(page, "difference").reshape(mine.shape)
    changed = mine != theirs
    assert (shown[changed] == colours[mine[changed]]).all()
    assert len(np.unique(shown[~changed])) == 1


def test_undecided_pixels_are_those_below_the_threshold_of_the_sensors_that_saw_them(
    page: Page, reported: Reported
) -> None:
    page.select_option("#layer", "undecided")
    page.select_option("#risk", "0.1")
    content, drawn = content_of(reported.page), reported.run / "maps"
    sure, natural = band(drawn, "hsi+lidar+sar_confidence"), band(drawn, "hsi+lidar+sar_sensors")
    least = np.full(8, 101.0)
    for name, found in content["patterns"].items():
        accepted = found["trust"]["accepted"][content["risks"].index(0.1)]
        bits = sum(1 << SENSORS.index(each) for each in name.split("+"))
        least[bits] = 101 if accepted is None else np.ceil(100 * accepted - 1e-9)
    left = (sure < least[natural])[sure != 255]
    assert f"undecided, {100 * left.mean():.1f} % of the map" in page.inner_text("#scale")
    assert 0 < left.mean() < 1


def test_every_layer_and_every_right_side_is_drawn(page: Page) -> None:
    pictures = set()
    for select in ("#layer", "#right"):
        for value in page.eval_on_selector_all(f"{select} option", "options => options.map(each => each.value)"):
            page.select_option(select, value)
            pictures.add((select, page.evaluate("page.element('map').toDataURL().length")))
    assert len(pictures) > 12
    before = page.evaluate("page.element('map').toDataURL()")
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    assert page.evaluate("page.element('map').toDataURL()") != before


def test_everything_works_by_the_keyboard_alone(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    page.locator(".skip").focus()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement.dataset.sensor || document.activeElement.id")
        reached.append(here)
        if here == "hsi":
            page.keyboard.press("Space")
            assert page.inner_text("#status").startswith("With lidar+sar:")
        elif here == "map":
            break
    assert reached[-1] == "map", reached
    assert {"theme", *SENSORS, "layer", "right", "closer", "farther", "whole", "map-png"} <= set(reached)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.evaluate("page.map.choose(3, 3)")
    for key in ("ArrowDown", "ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert "row 4, column 14." in page.inner_text("#pixel p")
    before = page.evaluate("page.map.where(0, 0)")
    page.keyboard.press("+")
    page.keyboard.press("d")
    assert page.evaluate("page.map.where(0, 0)") != before
    page.keyboard.press("0")
    assert page.evaluate("page.map.where(0, 0)") == pytest.approx(before)


def test_tables_are_saved_as_csv_and_the_map_as_png(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as waiting:
        page.click("#table-patterns + button, #table-patterns button")
    waiting.value.save_as(tmp_path / "scores.csv")
    assert pd.read_csv(tmp_path / "scores.csv")["sensors"].tolist() == list(PATTERNS)
    with page.expect_download() as waiting:
        page.click("#map-png")
    waiting.value.save_as(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page: Page, theme: str) -> None:
    if page.get_attribute("html", "data-theme") != theme:
        page.click("#theme")
    page.evaluate("page.map.choose(5, 5)")
    found = Axe().run(page).response["violations"]
    faults = [
        (each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")
    ]
    assert not faults


def test_charts_are_drawn_for_the_pattern_that_is_on(page: Page) -> None:
    only(page, "lidar")
    names = ("patterns", "rates", "worth", "routing", "reliability", "risk")
    for name in names:
        page.locator(f"#chart-{name}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#chart-{name}.js-plotly-plot")
    assert "with lidar" in (page.get_attribute("#chart-reliability", "aria-label") or "")
    shown = page.evaluate("page.element('chart-patterns').data[0].y")
    assert [f"{value:.1f}" for value in shown] == [row[2].split(" ")[0] for row in rows(page, "table-patterns")[1:]]


def test_a_page_without_a_scene_and_a_narrow_one(browser: Browser, reported: Reported, bare: Made) -> None:
    told = Told()
    narrow = opened(browser, reported.page, told, viewport={"width": 390, "height": 800})
    assert narrow.evaluate("document.documentElement.scrollWidth") == 390  # no sideways scrolling of the page
    narrow.context.close()
    without = opened(browser, bare.folder / "report.html", told)
    assert without.is_visible("#without-map")
    assert not without.is_visible("#map")
    without.context.close()
    assert not told.errors


def test_curves_of_several_runs_are_told_apart_by_more_than_colour(page: Page, reported: Reported) -> None:
    page.locator("#chart-rates").scroll_into_view_if_needed()
    page.wait_for_selector("#chart-rates.js-plotly-plot")
    content = content_of(reported.page)
    runs = {"this run": content["rates"], reported.other.name: content["others"][0]["rates"]}
    assert page.input_value("#gone") == "both"
    for kind in ("hsi", "both"):
        page.select_option("#gone", kind)
        drawn = page.evaluate("page.element('chart-rates').data")
        assert [line["name"] for line in drawn] == list(runs)
        for part, name in (("line", "color"), ("line", "dash"), ("marker", "symbol")):
            assert len({line[part][name] for line in drawn}) == len(runs)
        for line, rates in zip(drawn, runs.values(), strict=True):
            assert line["y"] == pytest.approx([row["OA"] for row in rates if row["type"] == kind])
        assert f"missing: {kind}" in (page.get_attribute("#chart-rates", "aria-label") or "")
    table = rows(page, "table-rates")
    assert table[0] == ["missing", "run", "0 %", "50 %"]
    found = {(kind, run): shown for kind, run, *shown in table[1:]}
    for run, rates in runs.items():
        for kind in {row["type"] for row in rates}:
            assert found[kind, run] == [f"{row['OA']:.1f}" for row in rates if row["type"] == kind]
    assert not page.locator("#table-rates tr.now").count()  # what is missing is no pattern that is on


def test_a_page_of_a_million_pixels_is_as_quick_to_use(
    browser: Browser, reported: Reported, large: Large, tmp_path: Path
) -> None:
    """Three sensors: one is switched off, a pixel is clicked, and the numbers are those of the maps."""
    told, path = Told(), tmp_path / "large.html"
    path.write_text(large.page(content_of(reported.page)), "utf-8")
    page = opened(browser, path, told, viewport={"width": 1400, "height": 900})
    switch(page, "sar", False)
    found = large.drawn["hsi+lidar"]
    assert (pixels(page, "classes") == words(large.view["colours"])[found.classes].ravel()).all()
    counts = np.bincount(found.classes.ravel(), minlength=len(CLASSES) + 1)
    assert [int(row[1]) for row in rows(page, "legend")[1:]] == [*counts[1:], counts[0]]
    x, y = page.evaluate("page.map.where(612, 345)")
    page.locator("#map").scroll_into_view_if_needed()
    page.locator("#map").click(position={"x": x, "y": y})
    at = re.search(r"row (\d+), column (\d+)\.", page.inner_text("#pixel p"))
    assert at
    row, col = map(int, at.groups())
    assert (row, col) == pytest.approx((612, 345), abs=3)  # a pixel of the screen is more than two of the map
    down, across = row // large.view["points"], col // large.view["points"]
    shown = {line[0]: line[1:] for line in rows(page, "pixel")[1:]}
    assert set(shown) == set(PATTERNS)
    for pattern, (_, name, _, size, *shares) in shown.items():
        block = large.drawn[pattern]
        assert block.probabilities is not None
        assert block.set_size is not None
        assert name == CLASSES[block.classes[row, col] - 1]
        assert int(size) == block.set_size[down, across]
        wanted = block.probabilities[:, down, across] / 100
        assert [float(share) for share in shares] == pytest.approx(wanted.tolist(), abs=0.75)
    assert told.errors == []
    page.context.close()


def test_the_page_is_ready_in_less_than_two_seconds_of_work(browser: Browser, reported: Reported) -> None:
    """In processor time of the page's thread, so that other work on the machine does not count."""
    page = browser.new_context().new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(reported.page.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=WAIT)
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    passed = float(page.get_attribute("html", "data-ready") or 0) / 1000
    page.context.close()
    assert 0 < found["TaskDuration"] < 2
    assert 0 < passed < WAIT / 1000  # seconds on a clock, which depend on what else the machine does


def test_no_error_and_no_request(told: Told, reported: Reported) -> None:
    """Of all tests above."""
    assert told.errors == []
    assert [url for url in told.requests if not url.startswith(("data:", "blob:"))] == [reported.page.as_uri()]
