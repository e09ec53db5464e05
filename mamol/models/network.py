"""Embeddings, frozen tower, method and head: windows in, class logits out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from mamol.errors import MamolError
from mamol.methods import METHODS
from mamol.methods.base import Context
from mamol.models.clip import VisualTower
from mamol.models.embedding import WindowEmbedding
from mamol.models.encoder import encode
from mamol.models.fusion import FUSIONS


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that is needed to build the trainable part again; stored with each checkpoint.

    Attributes:
        backbone: Name of the tower.
        method: Name of the method.
        modalities: Modality to bands, in the order of the features.
        classes: Class names.
        patch_size: Window side P in pixels, the token grid.
        method_options: The settings that the method reads.
        activation: Of the frozen MLPs; ``auto`` is the one that the weights were trained with.
        fusion: Where the modalities come together, ``late`` or ``single_stream``.
    """

    backbone: str
    method: str
    modalities: dict[str, int]
    classes: list[str]
    patch_size: int
    method_options: dict[str, Any] = field(default_factory=dict)
    activation: str = "auto"
    fusion: str = "late"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "NetworkSpec":
        """Back from plain values.

        Raises:
            MamolError: A key is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise MamolError(f"the checkpoint describes its network in another way ({error})") from error


class Network(nn.Module):
    """MaMOL's network for M modalities.

    Every present stream (one modality of one sample) goes through its own embedding and the common frozen tower, alone
    or in one sequence with the other streams of its sample, as the fusion says. Absent streams are never embedded.
    """

    def __init__(self, spec: NetworkSpec, tower: VisualTower, seed: int = 0) -> None:
        """Builds the trainable parts around the frozen tower.

        Args:
            spec: Sizes and method.
            tower: The frozen tower, its grid equal to the window.
            seed: Of the initial weights.

        Raises:
            MamolError: The method's settings do not fit the tower, or the tower does not fit the fusion.
        """
        super().__init__()
        self.spec = spec
        self.tower = tower
        self.fusion = FUSIONS[spec.fusion]
        modalities = len(spec.modalities)
        type_start = _type_start(tower, spec.fusion)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.ModuleList(
                WindowEmbedding(bands, tower.width, type_start) for bands in spec.modalities.values()
            )
            self.method = METHODS[spec.method].build(tower, modalities, spec.method_options)
            self.embedding.requires_grad_(self.method.trains_embedding)
            self.head = nn.Linear(self.fusion.feature_width(modalities, tower.output_dim), len(spec.classes))
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    @property
    def embeddings(self) -> list[WindowEmbedding]:
        """The embedding of each modality, in the order of the features."""
        return cast(list[WindowEmbedding], list(self.embedding))

    def features(self, batch: Mapping[str, Tensor], context: Context | None = None) -> Tensor:
        """What the head sees.

        Args:
            batch: Modality to (B, C, P, P) windows, and ``available`` (B, M) bool.
            context: Given to record the routing; made here otherwise.

        Returns:
            (B, M·output_dim), zero where a modality is absent; with ``fusion=single_stream`` (B, output_dim).
        """
        available = batch["available"]
        context = self.context(batch) if context is None else context
        tokens = torch.cat(
            [
                embedding(batch[name][available[:, i]])
                for i, (name, embedding) in enumerate(zip(self.spec.modalities, self.embeddings, strict=True))
            ]
        )
        encoded = encode(self.tower, self.fusion.sequences(tokens, available), self.method, context)
        return self.fusion.features(encoded, available)

    def context(self, batch: Mapping[str, Tensor]) -> Context:
        """What the encoder's methods know of a batch."""
        return self.fusion.context(batch["available"], self.spec.patch_size**2)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K) and the method's auxiliary loss, if it has one."""
        context = self.context(batch)
        return self.head(self.features(batch, context)), self.method.auxiliary_loss(context)

    def trainable_parts(self) -> dict[str, nn.Module]:
        """Everything but the frozen tower, by name."""
        return {"embedding": self.embedding, "method": self.method, "head": self.head}

    def trainable_state(self) -> dict[str, Tensor]:
        """Weights and normalisation of the trainable parts, by full name."""
        return {
            f"{part}.{name}": value
            for part, module in self.trainable_parts().items()
            for name, value in module.state_dict().items()
        }

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads what ``trainable_state`` gave.

        Raises:
            MamolError: Names are missing or unexpected, or a shape differs.
        """
        own = self.trainable_state()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        shapes = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if missing or unexpected or shapes:
            raise MamolError(
                f"the checkpoint does not fit the network: missing {_some(missing)}, unexpected {_some(unexpected)}, "
                f"other shape {_some(sorted(shapes))}; use the options it was trained with"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])


def _type_start(tower: VisualTower, fusion: str) -> Tensor | None:
    """Where the type embedding of every modality begins: ViLT's of images, or zero, with which CLIP stays as it is.

    Raises:
        MamolError: Weights that were trained with type embeddings, and a fusion without.
    """
    if not FUSIONS[fusion].typed:
        if tower.modality_type is not None:
            raise MamolError(
                f"fusion={fusion} does not go with {tower.origin}, trained on all modalities in one sequence; "
                "add fusion=single_stream, or give clip_weights those of a CLIP"
            )
        return None
    return torch.zeros(tower.width) if tower.modality_type is None else tower.modality_type


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"
