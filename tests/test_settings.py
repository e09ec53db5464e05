"""Options: every wrong value named in one line, several at once, and the defaults of config.py allowed."""

from typing import Any

import pytest

from config import ex
from mamol.errors import MamolError
from mamol.settings import Settings


def defaults() -> dict[str, Any]:
    """What Sacred resolves without any option."""
    return dict(ex.configurations[0]())


def test_defaults_are_allowed_and_paper_like() -> None:
    settings = Settings.of(defaults())
    assert (settings.experts_dynamic, settings.top_k, settings.rank, settings.expert_blocks) == (2, 1, 8, "last6")
    assert (settings.learning_rate, settings.weight_decay, settings.warmup_steps) == (2e-3, 2e-2, 0.1)
    assert settings.missing("test") == (0.7, "both")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1.0}, "unknown option learning_rat, did you mean learning_rate\\?"),
        ({"zzz": 1}, "unknown option zzz"),
        ({"seed": "x"}, "seed='x' must be a whole number of at least 0"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"test_ratio": 1.5}, "test_ratio=1.5 must be None or a number from 0 to 1"),
        ({"missing_ratio": {"train": 0.5}}, "missing_ratio=.* or a dictionary of train, val and test"),
        ({"missing_type": ""}, "missing_type='' must be a modality name"),
        ({"method": "mamoll"}, "method='mamoll' must be one of mamol"),
        ({"optim_type": "lion"}, "optim_type='lion' must be one of adamw, adam, sgd"),
        ({"precision": 64}, "precision=64 must be one of auto, 32"),
        ({"num_gpus": -1}, "num_gpus=-1 must be auto or a whole number of at least 0"),
        ({"exp_name": "a/b"}, "exp_name='a/b' must be a name without /"),
        ({"expert_blocks": "middle"}, "expert_blocks='middle' must be first<n>, last<n> or a list"),
        ({"max_epoch": 0}, "max_epoch=0 must be a whole number of at least 1"),
        ({"progress_bar": 1}, "progress_bar=1 must be True or False"),
        ({"val_check_interval": 1.5}, "val_check_interval=1.5 must be a share of an epoch"),
        ({"availability": {"hsi": 2}}, "availability=.* must be None or a dictionary of modality and rate"),
        ({"modalities": [1]}, r"modalities=\[1\] must be modality names, such as hsi,lidar"),
        ({"missing_type": "hsi+label"}, "missing_type: modality 'label': the name is reserved"),
        ({"top_k": 3}, "top_k=3 must be at most experts_dynamic=2"),
        ({"test_only": True}, "test_only=True needs load_path"),
        ({"resume_from": "a", "load_path": "b"}, "resume_from goes on with an interrupted run"),
        (
            {"dynamic_experts": False, "shared_expert": False, "modality_experts": False},
            "no expert is left: use method=baseline",
        ),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        Settings.of(defaults() | change)


def test_all_problems_come_together() -> None:
    with pytest.raises(MamolError) as caught:
        Settings.of(defaults() | {"rank": 0, "seeed": 1, "log_dir": 3})
    text = str(caught.value)
    assert all(part in text for part in ("rank=0", "unknown option seeed, did you mean seed?", "log_dir=3"))
    assert "\n" not in text


def test_a_missing_key_is_named() -> None:
    config = defaults()
    del config["rank"]
    with pytest.raises(MamolError, match="rank is not set"):
        Settings.of(config)


def test_scalars_stand_for_all_splits_and_test_overrides_only_test() -> None:
    settings = Settings.of(defaults() | {"missing_ratio": 0.5, "missing_type": "LiDAR+HS", "test_ratio": 0})
    assert settings.missing("train") == (0.5, "lidar+hsi")
    assert settings.missing("val") == (0.5, "lidar+hsi")
    assert settings.missing("test") == (0.0, "lidar+hsi")
