"""What ``methods=`` of ``reproduce`` can name: methods, and methods with options of their own."""

from typing import Any

from mamol.backbones.vilt import NAME as VILT
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
