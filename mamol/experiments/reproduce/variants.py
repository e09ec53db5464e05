"""What ``methods=`` of ``reproduce`` can name: methods, and methods with options of their own."""

from pathlib import Path
from typing import Any

from mamol.backbones.huggingface import weight_file
from mamol.backbones.vilt import NAME as VILT
from mamol.backbones.vilt import is_vilt
from mamol.core.command_groups import ReproduceSettings
from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.method import METHODS
from mamol.network import methods as _built_in  # noqa: F401 - registers them

ABLATIONS: dict[str, dict[str, Any]] = {
    "no_dynamic": {"dynamic_experts": False},
    "no_static": {"shared_expert": False, "modality_experts": False},
    "no_modality": {"modality_experts": False},
}
RELEASED_VISION_LANGUAGE: dict[str, Any] = {
    "method": "released",
    "activation": "gelu",
    "rank": 16,
    "experts_dynamic": 4,
    "top_k": 2,
    "expert_blocks": "last2",
    "adapter_scale": 0.2,
    "train_end": True,
}
"""The released code's image-text network: 3,567,975 trainable parameters with 23 genres, Table 2's "MaMOL-3.6M"."""
ON_VILT = {f"{name}_{VILT}": name for name in ("moe_rep", "moe_ada", "moe_task")}
"""The compared MoEs as Table 4 labels them, to the method of each; ``vilt_weights`` says where ViLT lies."""


def variants() -> dict[str, dict[str, Any]]:
    """What ``methods=`` can name, with the option values of a run: methods that are registered now, and variants."""
    return {
        # The named config `released` sets more than the method; it cannot stand beside others in one table.
        **{name: {"method": name} for name in METHODS if name != "released"},
        **{name: {"method": "mamol", **options} for name, options in ABLATIONS.items()},
        # Table 4's name for dynamic experts alone, although its "last6x2" number is that of the whole MaMOL in Table 1.
        "mamol_dyn": {"method": "mamol", **ABLATIONS["no_static"]},
        "released_vision_language": RELEASED_VISION_LANGUAGE,
        **{name: {"method": own, "backbone": VILT, "fusion": "single_stream"} for name, own in ON_VILT.items()},
    }


def vilt_folder(asked: ReproduceSettings) -> tuple[str, str]:
    """Where the ViLT of the methods in ``ON_VILT`` lies, and sha256 of its weights.

    Args:
        asked: What was asked for.

    Raises:
        MamolError: ``vilt_weights`` is no folder of a ViLT.
    """
    folder = Path(asked.vilt_weights).expanduser()
    if not asked.vilt_weights or not is_vilt(folder):
        raise MamolError(
            f"methods={','.join(asked.methods)}: {', '.join(ON_VILT)} need vilt_weights=<folder of a ViLT, with "
            f"config.json (model_type vilt) and its weights>, not {asked.vilt_weights!r}"
        )
    return str(folder.resolve()), sha256_of(weight_file(folder))
