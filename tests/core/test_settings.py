"""Options: every wrong value named in one line, several at once; every option has a default, a meaning and a group."""

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from config import ex
from mamol.core.errors import MamolError
from mamol.core.groups import MethodSettings, MissingSettings
from mamol.core.names import SPLITS
from mamol.core.settings import GROUPS, OPTIONS, RETIRED, Settings, flat_defaults


def defaults() -> dict[str, Any]:
    """What Sacred resolves without any option."""
    return dict(ex.configurations[0]())


def test_defaults_are_allowed_and_paper_like() -> None:
    settings = Settings.of(defaults())
    method, training = settings.method, settings.training
    assert (method.experts_dynamic, method.top_k, method.rank, method.expert_blocks) == (2, 1, 8, "last6")
    assert (training.learning_rate, training.weight_decay, training.warmup_steps) == (2e-3, 2e-2, 0.1)
    assert settings.missing.of("test") == (0.7, "both")


def test_no_option_needs_to_be_set() -> None:
    written = {name: default for name, default, _ in flat_defaults()}
    assert Settings.of({}) == Settings.of(written) == Settings.of(defaults())
    assert written == defaults()
    assert Settings().missing == Settings.of({}).missing
    assert Settings().training == Settings.of({}).training
    assert Settings().flat().keys() == written.keys()
    assert Settings().method.top_k is None, "it is the method that decides"
    assert Settings.of(Settings().flat()) == Settings.of({})


def test_every_option_has_a_meaning_of_one_line_and_a_group() -> None:
    for name, _, meaning in flat_defaults():
        assert meaning.strip(), name
        assert "\n" not in meaning, name
        group, spec = OPTIONS[name]
        assert group in GROUPS
        assert spec.name == name
        assert hasattr(getattr(Settings(), group), name)
    assert list(OPTIONS) == [name for name, _, _ in flat_defaults()] == list(Settings().flat())


def test_groups_may_be_made_by_themselves() -> None:
    settings = Settings(method=MethodSettings(rank=4), missing=MissingSettings(test_ratio=0.0))
    assert settings.flat() == Settings().flat() | {"rank": 4, "test_ratio": 0.0}
    assert settings.missing.of("test") == (0.0, "both")
    with pytest.raises(FrozenInstanceError):
        settings.method.rank = 8  # type: ignore[misc]


CHANGES: dict[str, Any] = {
    "modalities": ["HS", "DSM"],
    "availability": {"SAR": 0.75},
    "missing_type": {"train": "both", "val": "all", "test": "lidar+hs"},
    "missing_ratio": 0.5,
    "expert_blocks": [11, 0],
    "evaluate_ratios": 0.5,
    "evaluate_types": "hsi,both",
    "plugins": "a.py,b.py",
    "rates": [0.5, 0.7],
    "slurm": {"timeout_min": 5},
    "threads": 3,
    "precision": "32",
}


@pytest.mark.parametrize("name", ["nothing", *CHANGES])
def test_flat_options_come_back_and_so_do_they_through_json(name: str) -> None:
    change = {name: CHANGES[name]} if name in CHANGES else {}
    settings = Settings.of(change)
    assert Settings.of(settings.flat()) == settings
    assert Settings.of(json.loads(json.dumps(settings.flat()))) == settings
    assert Settings.of({}).changed(**change) == settings


def test_changed_leaves_the_rest_and_checks_anew() -> None:
    settings = Settings.of({"seed": 3})
    other = settings.changed(rank=4, missing_ratio=0.5)
    assert other.flat() == settings.flat() | {"rank": 4, "missing_ratio": dict.fromkeys(SPLITS, 0.5)}
    assert settings.method.rank == 8
    with pytest.raises(MamolError, match="rank=0 must be a whole number of at least 1"):
        settings.changed(rank=0)
    with pytest.raises(MamolError, match="unknown option colour"):
        settings.changed(colour="blue")


def test_what_decides_the_result_is_told_apart_from_paths_and_machine() -> None:
    decisive = Settings.of({}).decisive()
    assert {"seed", "rank", "method", "learning_rate", "missing_ratio", "precision", "head"} <= decisive.keys()
    assert not {"log_dir", "exp_name", "data_root", "num_gpus", "threads", "progress_bar"} & decisive.keys()
    moved = Settings.of({"log_dir": "elsewhere", "num_gpus": 0, "threads": 2, "plugins": "a.py"})
    assert moved.decisive() == decisive
    assert Settings.of({"rank": 4}).decisive() != decisive


def test_a_retired_option_is_accepted_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert RETIRED["missing_fill"].startswith("absent windows are never read")
    assert Settings.of({"missing_fill": 3.0}) == Settings.of({})
    assert "missing_fill" not in Settings.of({"missing_fill": 3.0}).flat()
    monkeypatch.setitem(RETIRED, "earlier", "nobody needs it")  # this process has not been warned of it
    for _ in range(2):
        Settings.of({"earlier": 1})
    assert [each for each in caplog.messages if "earlier" in each] == [
        "earlier is no longer an option and is left out: nobody needs it"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1.0}, "unknown option learning_rat, did you mean learning_rate\\?"),
        ({"zzz": 1}, "unknown option zzz"),
        ({"seed": "x"}, "seed='x' must be a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed=4294967296 must be a whole number from 0 to 4294967295"),
        ({"exp_name": "a\0b"}, "exp_name='a.x00b' must be a name without / and spaces"),
        ({"log_dir": "a\0b"}, "log_dir='a.x00b' must be a text without NUL"),
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
        ({"threads": 0}, "threads=0 must be auto or a whole number of at least 1"),
        ({"head": "nothing"}, "head='nothing' must be one of class"),
        ({"modalities": "hsi,hsi"}, "modalities: hsi, hsi names one of them twice; give each once"),
        ({"modalities": ["HS", "hsi"]}, "modalities: hsi, hsi names one of them twice"),
        ({"plugins": [1]}, r"plugins=\[1\] must be paths of .py files with commas between them"),
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
        Settings.of(change)


def test_all_problems_come_together() -> None:
    with pytest.raises(MamolError) as caught:
        Settings.of({"rank": 0, "seeed": 1, "log_dir": 3})
    text = str(caught.value)
    assert all(part in text for part in ("rank=0", "unknown option seeed, did you mean seed?", "log_dir=3"))
    assert "\n" not in text


def test_scalars_stand_for_all_splits_and_test_overrides_only_test() -> None:
    settings = Settings.of({"missing_ratio": 0.5, "missing_type": "LiDAR+HS", "test_ratio": 0})
    assert settings.missing.of("train") == (0.5, "lidar+hsi")
    assert settings.missing.of("val") == (0.5, "lidar+hsi")
    assert settings.missing.of("test") == (0.0, "lidar+hsi")
