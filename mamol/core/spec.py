"""What is needed to build the trainable part of a network again; stored with each checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mamol.core.embedding import EMBEDDINGS
from mamol.core.errors import MamolError
from mamol.core.modality import WINDOW, Modality
from mamol.core.plain import Size, fitted, record
from mamol.core.streams import TEXT, VISUAL


@dataclass(frozen=True)
class NetworkSpec:
    """A network, but for its weights.

    Attributes:
        backbone: Name of the frozen part; like other parts "" of a network that has none.
        method: Name of the method.
        modalities: In the order of ``available``.
        classes: Class names.
        grid: Tokens per side of the visual tower: the side of the window in pixels, the patches per side of an image.
        method_options: The settings that the method reads.
        activation: Of the frozen MLPs; ``auto`` is the one that the weights were trained with.
        fusion: Where the modalities come together, ``late`` or ``single_stream``.
        head: Name of the head.
        network: Name of the network, ``clip`` around a frozen backbone.
        options: The settings that the network itself reads.
    """

    backbone: str
    method: str
    modalities: tuple[Modality, ...]
    classes: tuple[str, ...]
    grid: Size
    method_options: dict[str, Any] = field(default_factory=dict)
    activation: str = "auto"
    fusion: str = "late"
    head: str = "class"
    network: str = "clip"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What people call it: its method, or its own name where it has none."""
        return self.method or self.network

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(modality.name for modality in self.modalities)

    @property
    def sizes(self) -> dict[str, int]:
        """Modality to bands, channels or tokens."""
        return {modality.name: modality.size for modality in self.modalities}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of input that occur, each once."""
        return tuple(dict.fromkeys(modality.kind for modality in self.modalities))

    @property
    def takes_windows(self) -> bool:
        """Whether all modalities are windows, so that a map can be drawn."""
        return self.kinds == (WINDOW,)

    @property
    def members(self) -> dict[str, list[int]]:
        """Tower to the numbers of the modalities that go through it, the visual tower first."""
        towers = [EMBEDDINGS.find(modality.kind).tower for modality in self.modalities]
        return {
            tower: [i for i, own in enumerate(towers) if own == tower] for tower in (VISUAL, TEXT) if tower in towers
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, as checkpoints have had them from the first version on."""
        return {
            "backbone": self.backbone,
            "method": self.method,
            "modalities": self.sizes,
            "classes": list(self.classes),
            "patch_size": self.grid,
            "method_options": self.method_options,
            "activation": self.activation,
            "fusion": self.fusion,
            "inputs": {modality.name: modality.kind for modality in self.modalities if modality.kind != WINDOW},
            "head": self.head,
            "network": self.network,
            "options": self.options,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "NetworkSpec":
        """Back from plain values; those that earlier versions did not write are the defaults.

        Args:
            content: Of ``to_json``.

        Raises:
            MamolError: A key is missing or unknown, or a value is of another type.
        """
        try:
            values = fitted(content, dict[str, Any], "network")
            kinds = fitted(values.pop("inputs", {}), dict[str, str], "inputs")
            sizes = fitted(values.pop("modalities"), dict[str, Size], "modalities")
            values = record({**values, "grid": values["patch_size"]}, cls)
            del values["patch_size"]
            modalities = tuple(Modality(name, kinds.get(name, WINDOW), size) for name, size in sizes.items())
            return cls(modalities=modalities, **values)
        except (TypeError, KeyError, ValueError) as error:
            raise MamolError(f"the checkpoint describes its network in another way ({error})") from error
