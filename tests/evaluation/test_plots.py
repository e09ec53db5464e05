"""Figures: what is drawn, with which labels, and that the colours stay apart for colour-blind readers."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mamol.evaluation import plots
from tests.sight import SIGHT, cielab

CLASSES = ("water", "grass", "trees")


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(("sight", "least"), [("normal", 30), ("protan", 15), ("deutan", 15)])
def test_twenty_classes_have_distinguishable_colours(sight: str, least: float) -> None:
    lab = cielab(plots.class_colours(20), SIGHT[sight])
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(20)
    assert distance.min() > least


def test_colours_do_not_depend_on_the_number_of_classes_and_more_than_twenty_still_work() -> None:
    assert (plots.class_colours(6) == plots.class_colours(20)[:6]).all()
    assert plots.class_colours(1).shape == (1, 3)
    many = plots.class_colours(40)
    assert many.dtype == np.uint8
    assert len(np.unique(many, axis=0)) == 40


def test_confusion_plot_writes_counts_and_colours_shares_of_the_true_class() -> None:
    matrix = np.array([[90, 10, 0], [5, 15, 0], [0, 0, 0]])
    figure = plots.confusion_plot(matrix, CLASSES, "test, synthetic")
    axes = figure.axes[0]
    assert axes.get_title() == "test, synthetic"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "90", (1, 0): "10", (0, 1): "5", (1, 1): "15"}
    share = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(share, [[90, 10, 0], [25, 75, 0], [0, 0, 0]])
    assert [text.get_text() for text in axes.get_yticklabels()] == list(CLASSES)


def test_training_curves_averages_the_rows_of_an_epoch_and_skips_empty_cells() -> None:
    history = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1],
            "train/loss": [2.0, 1.0, 0.5, np.nan],
            "val/loss": [np.nan, 1.8, np.nan, 0.9],
            "val/OA": [np.nan, 40.0, np.nan, 80.0],
            "lr": [1e-3, np.nan, 2e-3, np.nan],
        }
    )
    figure = plots.training_curves(history, title="training of mamol on Trento")
    assert figure.get_suptitle() == "training of mamol on Trento"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "validation OA (%)", "learning rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    train, val = figure.axes[0].lines
    np.testing.assert_allclose(train.get_xydata(), [[1, 1.5], [2, 0.5]])  # people count epochs from 1
    np.testing.assert_allclose(val.get_xydata(), [[1, 1.8], [2, 0.9]])
    assert figure.axes[0].get_xlim() == (0.5, 2.5)


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(
    ("history", "panels"),
    [
        (pd.DataFrame({"epoch": [0, 1], "val/OA": [50.0, 60.0], "lr": [np.nan, np.nan]}), ["validation OA (%)"]),
        (pd.DataFrame({"train/loss": [1.0, 0.5]}), ["loss"]),
        (pd.DataFrame(), []),
    ],
)
def test_training_curves_leaves_out_what_is_missing(history: pd.DataFrame, panels: list[str], tmp_path: Path) -> None:
    figure = plots.training_curves(history)
    assert [axes.get_ylabel() for axes in figure.axes] == panels
    assert [text.get_text() for text in figure.texts] == ([] if panels else ["no training history"])
    plots.save_figure(figure, tmp_path / "curves.png")


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_class_map_shows_map_ground_truth_and_legend(shape: tuple[int, int]) -> None:
    classified = np.arange(120).reshape(shape) % 3
    labels = classified.astype(np.uint8) + 1
    labels[0, 0] = 0
    figure = plots.class_map(classified, CLASSES, title="hybrid Trento, hsi only", labels=labels)
    assert figure.get_suptitle() == "hybrid Trento, hsi only"
    assert [axes.get_title() for axes in figure.axes] == ["classified", "ground truth"]
    assert legend_texts(figure) == [*CLASSES, "unlabelled"]
    predicted, truth = (axes.images[0].get_array() for axes in figure.axes)
    assert not np.ma.getmaskarray(predicted).any()
    assert np.argwhere(np.ma.getmaskarray(truth)).tolist() == [[0, 0]]


def test_class_map_paints_each_class_in_its_own_colour() -> None:
    image = plots.class_map(np.array([[0, 2], [1, -1]]), CLASSES, title="").axes[0].images[0]
    painted = image.to_rgba(image.get_array(), bytes=True)
    assert (painted[[0, 1, 0], [0, 0, 1], :3] == plots.class_colours(3)).all()
    assert painted[1, 1, 3] == 0


def test_class_map_alone_has_a_legend_of_the_classes_only() -> None:
    figure = plots.class_map(np.zeros((5, 9), int), CLASSES, title="map")
    assert legend_texts(figure) == list(CLASSES)
    assert len(figure.axes) == 1


@pytest.mark.usefixtures("figures")
def test_save_figure_writes_a_picture_with_something_on_it_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "figures" / "map.png"
    plots.save_figure(plots.class_map(np.arange(12).reshape(3, 4) % 3, CLASSES, title="map"), target)
    picture = matplotlib.image.imread(target)
    assert picture.std() > 0.1
    assert [path.name for path in target.parent.iterdir()] == ["map.png"]
