"""What is added to the frozen towers: MaMOL and the compared methods, by name.

Adding a method is one file and one entry in ``METHODS``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mamol.methods.base import Context, Method
from mamol.methods.dcp import DCP, DCPOptions
from mamol.methods.linear_probe import LinearProbe
from mamol.methods.lora_pattern import LoRAPattern, LoRAPatternOptions
from mamol.methods.mamol import MaMOL, MaMOLOptions
from mamol.methods.mmp import MMP, MMPOptions
from mamol.methods.moe_ada import MoEAda, MoEAdaOptions
from mamol.methods.moe_rep import MoERep, MoERepOptions
from mamol.methods.moe_task import MoETask, MoETaskOptions
from mamol.methods.per_tower import PerTower
from mamol.methods.released import Released, ReleasedOptions
from mamol.methods.single_lora import SingleLoRA
from mamol.models.tower import Tower

__all__ = ["METHODS", "Context", "Method", "MethodEntry"]


@dataclass(frozen=True)
class NoOptions:
    """Of a method that reads no settings."""


@dataclass(frozen=True)
class MethodEntry:
    """One method that ``method=`` can name.

    Attributes:
        summary: One line for ``python run.py methods``.
        source: Where the method comes from.
        settings: The dataclass of the settings that it reads, with the method's own defaults.
        make: Makes it for one tower from (tower, modalities, settings).
        fixed: Fields of ``settings`` that no option of a run sets.
        joint: Whether ``make`` takes (towers, members, settings) and makes it for all towers at once; otherwise each
            tower has its own.
    """

    summary: str
    source: str
    settings: type
    make: Callable[[Any, Any, Any], Method]
    fixed: tuple[str, ...] = ()
    joint: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the settings; they are stored with a checkpoint."""
        return tuple(f.name for f in fields(self.settings) if f.name not in self.fixed)

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The method's settings among ``values``, its own default where one is None.

        Raises:
            MamolError: Settings that do not fit each other.
        """
        chosen = self.settings(**{name: values[name] for name in self.options if values[name] is not None})
        return {name: getattr(chosen, name) for name in self.options}

    def build(
        self, towers: Mapping[str, Tower], members: Mapping[str, Sequence[int]], options: Mapping[str, Any]
    ) -> Method:
        """Makes the method for the towers of a network.

        Args:
            towers: Name to the frozen tower that it is added to.
            members: Tower to the numbers of its modalities, M of them together.
            options: Settings by name; the method's own defaults stand for the others.

        Returns:
            The method with fresh weights.

        Raises:
            MamolError: Settings that do not fit each other or a tower.
        """
        settings = self.settings(**options)
        if self.joint:
            return self.make(towers, members, settings)
        modalities = sum(map(len, members.values()))
        methods = {name: self.make(tower, modalities, settings) for name, tower in towers.items()}
        return PerTower(methods) if len(methods) > 1 else next(iter(methods.values()))


METHODS: dict[str, MethodEntry] = {
    "mamol": MethodEntry(
        "dynamic, shared and modality-specific low-rank experts beside the frozen MLPs",
        "arXiv 2511.11460, Eq. 12-17",
        MaMOLOptions,
        MaMOL,
    ),
    "released": MethodEntry(
        "the released code's adapter: output projection, random experts, thresholded gates",
        "github Jiahuiqu/mamol; use the named config released",
        ReleasedOptions,
        Released,
        fixed=("experts_static",),
    ),
    "baseline": MethodEntry(
        "trained embedding and head, frozen tower, no experts",
        "arXiv 2511.11460, Table 5",
        NoOptions,
        lambda tower, modalities, options: Method(),
    ),
    "linear_probe": MethodEntry(
        "trained head alone, behind a fixed random embedding and the frozen tower: the floor",
        "Radford et al. 2021, arXiv 2103.00020, section 3.2",
        NoOptions,
        lambda tower, modalities, options: LinearProbe(),
    ),
    "lora": MethodEntry(
        "one low-rank update per block, always on, as many parameters as MaMOL: the control",
        "Hu et al. 2021, arXiv 2106.09685",
        MaMOLOptions,
        SingleLoRA,
    ),
    "lora_pattern": MethodEntry(
        "one low-rank update per block and missing pattern, growing with 2^M - 1: a control",
        "with the experts of arXiv 2511.11460, Eq. 13",
        LoRAPatternOptions,
        LoRAPattern,
    ),
    "mmp": MethodEntry(
        "prompts picked by the missing pattern, as tokens or as keys and values",
        "Lee et al. 2023, arXiv 2303.03369",
        MMPOptions,
        MMP,
    ),
    "dcp": MethodEntry(
        "correlated, common and dynamic prompts picked by the missing pattern",
        "Hu et al., NeurIPS 2024, github hulianyuyy/Deep_Correlated_Prompting",
        DCPOptions,
        DCP,
        joint=True,
    ),
    "dcp_released": MethodEntry(
        "dcp with dynamic queries that are not trained",
        "the code of dcp and its form in github Jiahuiqu/mamol",
        DCPOptions,
        lambda towers, members, options: DCP(towers, members, options, trains_queries=False),
        joint=True,
    ),
    "moe_rep": MethodEntry(
        "routed trainable copies of the MLPs in place of the frozen ones",
        "arXiv 2511.11460, Eq. 7, after DeepSpeed-MoE, arXiv 2201.05596",
        MoERepOptions,
        MoERep,
    ),
    "moe_ada": MethodEntry(
        "routed experts that are the frozen MLPs with a LoRA inside each linear map",
        "arXiv 2511.11460, Eq. 8, after github maidacundo/MoE-LoRA",
        MoEAdaOptions,
        MoEAda,
    ),
    "moe_task": MethodEntry(
        "low-rank experts whose router knows the missing pattern",
        "arXiv 2511.11460, Eq. 9; moe_task_form=moelora: MOELoRA, arXiv 2310.18339",
        MoETaskOptions,
        MoETask,
    ),
}
