"""Sacred's side of the options: their flat defaults, derived from ``mamol.core.settings``, and the named configs.

``python run.py print_config with remote`` prints every option with its value and meaning.
"""

from collections.abc import Callable, Mapping
from typing import IO, Any

import sacred.config.config_files as files
import yaml
from sacred import SETTINGS, Experiment
from sacred.config import ConfigDict
from sacred.config.config_summary import ConfigSummary

from mamol.core import plainjson
from mamol.core.method import METHODS
from mamol.core.settings import flat_defaults
from mamol.experiments.reproduce.paper import AS_STATED, IMAGE_TEXT, TABLES
from mamol.experiments.reproduce.variants import ABLATIONS, RELEASED_VISION_LANGUAGE

# By file descriptor, Sacred would also capture what Lightning's other processes print.
SETTINGS.CAPTURE_MODE = "sys"


class Defaults(ConfigDict):
    """Flat options with their defaults; their meanings are shown by ``print_config``."""

    def __init__(self) -> None:
        """Takes all options of ``mamol.core.settings``."""
        super().__init__({name: default for name, default, _ in flat_defaults()})
        self.docs = {name: meaning for name, _, meaning in flat_defaults()}

    def __call__(
        self,
        fixed: Mapping[str, Any] | None = None,
        preset: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> ConfigSummary:
        """Gives Sacred the options with their meanings; the arguments are those of ``ConfigDict``."""
        summary = super().__call__(fixed, preset, fallback)
        summary.docs = dict(self.docs)
        return summary


READERS: dict[str, Callable[[IO[str]], object]] = {
    ".json": lambda file: plainjson.loads(file.read()),
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}
"""Ending of a file that ``with`` takes to what reads it."""

# Sacred would unpickle .pickle files, and rebuild the Python objects that a .json describes: both run code.
files.HANDLER_BY_EXT.clear()
files.HANDLER_BY_EXT.update({ending: files.Handler(read, None, "") for ending, read in READERS.items()})

ex = Experiment("mamol", save_git_info=False)
ex.configurations.append(Defaults())


def named(name: str, options: Mapping[str, Any]) -> None:
    """Makes ``with <name>`` set some options.

    Args:
        name: Of the config.
        options: Option to value.
    """
    ex.add_named_config(name, dict(options))


# The paper's remote-sensing setting: any table in data_root, 70 % incomplete, both modalities.
named(
    "remote",
    {
        "exp_name": "remote",
    },
)


# The released code's adapter and choices instead of the paper's (with three modalities its learning_rate is 2e-3). Its
# defects are not copied: a classifier weight that no optimiser group holds, training pixels in the test set, no
# validation table. Neither is 16-bit AMP, in which raw values above 65504 overflow (precision=16-mixed asks for it).
named(
    "released",
    {
        "exp_name": "released",
        "method": "released",
        "activation": "gelu",
        "normalise": False,
        "learning_rate": 1e-4,
        "val_check_interval": 20,
    },
)


# The released code's image-text network, 3,567,975 trainable parameters with 23 genres: `with task_finetune_mmimdb
# released_vision_language`. It trains with whatever the other config says.
named("released_vision_language", {"exp_name": "released_vision_language", **RELEASED_VISION_LANGUAGE})


# The paper's own words on the training, where the default or the release's settings are others: `with
# task_finetune_mmimdb as_stated`, `reproduce with table2 as_stated`.
named("as_stated", AS_STATED)


# Houston2013, HSI and LiDAR, 15 classes.
named(
    "houston2013",
    {
        "exp_name": "houston2013",
        "dataset": "houston2013",
        "data_root": "datasets/houston2013",
        "modalities": ["hsi", "lidar"],
    },
)


# Trento, HSI and LiDAR, 6 classes.
named(
    "trento",
    {
        "exp_name": "trento",
        "dataset": "trento",
        "data_root": "datasets/trento",
        "modalities": ["hsi", "lidar"],
    },
)


# Augsburg, HSI and SAR (the paper's Table 1), 7 classes.
named(
    "augsburg",
    {
        "exp_name": "augsburg",
        "dataset": "augsburg",
        "data_root": "datasets/augsburg",
        "modalities": ["hsi", "sar"],
    },
)


# Augsburg, HSI, SAR and LiDAR (the paper's Table 3), 7 classes.
named(
    "augsburg3",
    {
        "exp_name": "augsburg3",
        "dataset": "augsburg",
        "data_root": "datasets/augsburg",
        "modalities": ["hsi", "sar", "lidar"],
    },
)


# The images and texts of MM-IMDb (23 genres, any number per movie; F1), Food-101 (101 classes; its accuracy is OA) and
# Hateful Memes (2 classes; AUROC), with the settings of MMP, DCP and the release, the same for all three. Their
# max_text_len and draw_false_image have no effect with CLIP, whose texts are 77 tokens, and are no options here.
for _name, _dataset, _interval in (
    ("mmimdb", "mmimdb", 0.2),
    ("food101", "food101", 0.2),
    ("hatememes", "hateful_memes", 0.11),
):
    _own = {
        "exp_name": f"task_finetune_{_name}",
        "dataset": _dataset,
        "data_root": f"datasets/{_dataset}",
        "val_check_interval": _interval,
    }
    named(f"task_finetune_{_name}", IMAGE_TEXT | _own)


# The synthetic three-sensor scene of `make demo`, small enough for two CPU cores.
named(
    "demo",
    {
        "exp_name": "demo",
        "dataset": "synthetic",
        "data_root": "build/demo/table",
        "log_dir": "build/demo/runs",
        "backbone": "tiny",
        "num_gpus": 0,
        "max_epoch": 15,
        "batch_size": 32,
        "per_gpu_batchsize": 32,
    },
)


# The comparison of docs/STANDIN.md: small enough for two CPU cores, and without CLIP.
named(
    "standin",
    {
        "exp_name": "standin",
        "data_root": "build/standin/data",
        "datasets": "trento_hybrid,idtrees",
        "log_dir": "build/standin",
        "backbone": "tiny",
        "num_gpus": 0,
        "precision": "bf16-mixed",
        "seeds": 3,
        "max_epoch": 6,
        "val_check_interval": 2,
        "limit_batches": 15,
        "batch_size": 32,
        "per_gpu_batchsize": 32,
    },
)


# Table 5: without the routed experts, without the static ones, without those per modality.
for _name, _options in ABLATIONS.items():
    named(_name, _options)

# A table or figure of the paper, for the command `reproduce`.
for _table, _content in TABLES.items():
    named(_table, {**_content.options, "reproduce": _table})

# A method by its name, `with houston2013 mmp`, which names the run, too; released has more to it, above.
for _method in METHODS:
    if _method != "released":
        named(_method, {"method": _method, "exp_name": _method})
