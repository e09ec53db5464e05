"""A calibration for people: a page, tables as CSV, figures."""

from pathlib import Path

import pandas as pd

from mamol.core.calibration import Curve
from mamol.core.files import replacing
from mamol.evaluation.markdown import markdown
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_trust import Points, reliability_plot, risk_plot
from mamol.training.calibrations import CalibrationFile, PatternFile

COMPARED = ("ECE", "adaptive_ECE", "Brier", "NLL")


def write_page(folder: Path, content: CalibrationFile, title: str) -> str:
    """Writes ``calibration.md``, ``scores.csv``, ``reliability.png`` and ``risk_coverage.png``.

    Args:
        folder: Where.
        content: What was found.
        title: With what a reader must know.

    Returns:
        The page.
    """
    scores = pd.DataFrame(content["scores"])
    page = page_of(content, scores, title)
    with replacing(folder / "scores.csv") as temporary:
        scores.to_csv(temporary, index=False)
    save_figure(reliability_plot(_panels(content), title), folder / "reliability.png")
    curves = {name: Curve(**curve) for name, curve in content["test_curves"].items()}
    save_figure(risk_plot(curves, title), folder / "risk_coverage.png")
    with replacing(folder / "calibration.md") as temporary:
        temporary.write_text(page + "\n", "utf-8")
    return page


def page_of(content: CalibrationFile, scores: pd.DataFrame, title: str) -> str:
    """The page.

    Args:
        content: What was found.
        scores: Its rows.
        title: With what a reader must know.
    """
    test = scores[scores["split"] == "test"]
    parts = [
        f"# {title[0].upper()}{title[1:]}",
        f"Checkpoint {content['checkpoint']}. Fitted on the validation table, in units of one {content['unit']}; what "
        "is said of the test table was not fitted on it.",
        "## Temperatures",
        markdown(pd.DataFrame([_temperature(name, one) for name, one in _all(content).items()])),
        "## Test table, before and after",
        markdown(_before_and_after(test)),
        "ECE and adaptive ECE are in percent, NLL in nats; Brier goes from 0 to 2.",
    ]
    if content["coverage"] is not None:
        parts += _sets(content, test)
    parts += [
        "## Decided at an accepted risk",
        markdown(_decided(content, test)),
        "Thresholds are of the validation table, decided and wrong of the test table, all in percent. AURC is the mean "
        "risk over all shares.",
    ]
    return "\n\n".join(parts)


def _all(content: CalibrationFile) -> dict[str, PatternFile]:
    return {**content["patterns"], "all patterns": content["common"]}


def _temperature(name: str, one: PatternFile) -> dict[str, object]:
    return {
        "present": name,
        "samples": one["samples"],
        "units": one["units"],
        "own": one["own_temperature"],
        "used": one["temperature"],
    }


def _before_and_after(test: pd.DataFrame) -> pd.DataFrame:
    """A line per pattern; of each score as it is, and with a temperature for each pattern."""
    ways = {name: rows.set_index("present") for name, rows in test.groupby("calibration", sort=False)}
    before, after = ways["none"], ways["pattern"]
    columns: dict[str, object] = {"present": before.index, "n": before["n"].to_numpy()}
    for score in COMPARED:
        columns[score.replace("_", " ")] = before[score].to_numpy()
        columns[f"{score.replace('_', ' ')}, after"] = after[score].to_numpy()
    return pd.DataFrame(columns)


def _sets(content: CalibrationFile, test: pd.DataFrame) -> list[str]:
    after = test[test["calibration"] == "pattern"]
    table = pd.DataFrame(
        {
            "present": after["present"],
            "covered (%)": after["covered"],
            "classes in a set": after["set_size"],
            "sets of one class (%)": after["single"],
        }
    )
    each = " of each class" if content["class_conditional"] else ""
    told = [f"## Sets of classes, coverage {content['coverage']:g}{each}", markdown(table)]
    few = [name for name, one in content["patterns"].items() if not all(one["guaranteed"])]
    if few:
        told.append(
            f"Too few units for a guarantee under {', '.join(few)}: the coverage is that of the validation samples."
        )
    return told


def _decided(content: CalibrationFile, test: pd.DataFrame) -> pd.DataFrame:
    """A line per pattern: how much is decided at each accepted risk, and what is wrong of it."""
    curves = test[test["calibration"] == "pattern"].set_index("present")["AURC"]
    rows: dict[str, dict[str, object]] = {str(k): {"present": k, "AURC": area} for k, area in curves.items()}
    for each in content["abstention"]:
        at, wrong = f"at {100 * each['risk']:g} %", each["wrong"]
        rows[each["present"]] |= {
            f"decided {at}": 100 * each["share"],
            f"wrong {at}": float("nan") if wrong is None else 100 * wrong,
        }
    return pd.DataFrame(list(rows.values()))


def _panels(content: CalibrationFile) -> dict[str, dict[str, Points]]:
    """Pattern to bins before and after."""
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for row in content["reliability"]:
        label = {"none": "before", "pattern": "after"}.get(row["calibration"])
        if label:
            own = panels.setdefault(row["present"], {}).setdefault(label, [])
            own.append((row["confidence"], row["right"], row["share"]))
    return {name: dict(compared) for name, compared in panels.items()}
