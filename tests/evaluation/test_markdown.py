"""Data frames as Markdown."""

import numpy as np
import pandas as pd

from mamol.evaluation.markdown import markdown


def test_columns_are_padded_floats_rounded_and_gaps_shown() -> None:
    frame = pd.DataFrame({"present": ["hsi+lidar", "hsi"], "n": [10, 7], "OA": [91.234, np.nan]})
    assert markdown(frame).splitlines() == [
        "| present   | n  | OA    |",
        "| --------- | -- | ----- |",
        "| hsi+lidar | 10 | 91.23 |",
        "| hsi       | 7  | -     |",
    ]
    assert "91.2340" in markdown(frame, 4)
