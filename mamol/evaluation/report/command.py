"""``report``: gathers what a page shows and writes it."""

from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.settings import Settings
from mamol.evaluation.grid import Drawn, draw_masks
from mamol.evaluation.report.beside import against, open_other, told_apart
from mamol.evaluation.report.facts import command, facts, remarks
from mamol.evaluation.report.maps import order_of, scene_view
from mamol.evaluation.report.page import render, versions
from mamol.evaluation.report.predicted import Predicted
from mamol.evaluation.report.scores import chance, pattern_scores, rate_scores
from mamol.evaluation.report.trust import RISKS, calibrated
from mamol.evaluation.report.wanted import wanted_patterns
from mamol.evaluation.report.why import routing, worth
from mamol.evaluation.trained import Trained, open_trained

FOLDER, PAGE = "report", "report.html"


def report(settings: Settings) -> tuple[Path, str]:
    """Makes the page of a run.

    Args:
        settings: ``load_path``; ``data_root``, unless the run's own tables lie where they did; ``scene`` and what
            ``predict`` takes with it; ``patterns``, ``compare``, ``preview``.

    Returns:
        The folder, ``report`` in the run's own or the first of ``report_2`` … that is not there, and a line for people.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    if not settings.run.load_path:
        raise MamolError("report needs load_path=<checkpoint or run folder>; with scene=<raw folder> it draws maps")
    trained = open_trained(settings, "report")
    given = trained.settings
    chosen = wanted_patterns(trained.modalities, given.prune.patterns)
    order = order_of(given, chosen) if given.predict.scene else None
    masks = draw_masks(trained, given.evaluate.evaluate_ratios, given.evaluate.evaluate_types)
    for other in given.report.compare:  # mistakes in them are told before anything is computed
        open_other(given, other)
    content = gather(trained, masks)
    content["scene"] = scene_view(order, given.report.preview) if order else None
    content["drawn"] = ["+".join(pattern) for pattern in chosen]
    told = {"title": trained.title("Report"), "remarks": remarks(trained), "command": command(settings)}
    page = render(content, told, facts(trained, versions()))

    def fill(folder: Path) -> None:
        (folder / PAGE).write_text(page, "utf-8")

    folder, _ = new_folder(trained.folder(FOLDER).parent, FOLDER, fill)
    size = len(page.encode()) / 1e6
    patterns = f"{len(chosen)} pattern" + "s" * (len(chosen) != 1)
    return folder, f"{folder / PAGE}: {patterns}, {size:.1f} MB; open it in a browser"


def gather(trained: Trained, masks: Drawn) -> dict[str, Any]:
    """All but the maps.

    Args:
        trained: Checkpoint and tables.
        masks: What goes missing at every missing type and rate.

    Raises:
        MamolError: As of ``report``.
    """
    predicted, compared = Predicted.of(trained), trained.settings.report.compare
    named = zip(compared, told_apart(compared), strict=True)
    return {
        "modalities": list(trained.modalities),
        "classes": list(trained.classes),
        "score": trained.task.selection,
        "scores": list(trained.task.scores),
        "chance": chance(predicted),
        "per_class": "intersection over union" if trained.task.pixels else "recall" if predicted.counted else "F1",
        "label": trained.network.spec.label,
        "patterns": pattern_scores(predicted),
        "rates": rate_scores(predicted, masks),
        "others": [against(predicted, path, name, masks) for path, name in named],
        "routing": routing(predicted),
        "worth": worth(predicted),
        "risks": list(RISKS),
        "calibrated": calibrated(trained.network.calibration),
        "coverage": trained.network.calibration.coverage,
    }
