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
    """

    backbone: str
    method: str
    modalities: dict[str, int]
    classes: list[str]
    patch_size: int
    method_options: dict[str, Any] = field(default_factory=dict)
    activation: str = "auto"

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

    Every present stream (one modality of one sample) goes through its own embedding and the common frozen tower;
    features of absent ones are zero. Absent streams are never encoded: streams do not meet before the
    concatenation, so this is exact.
    """

    def __init__(self, spec: NetworkSpec, tower: VisualTower, seed: int = 0) -> None:
        """Builds the trainable parts around the frozen tower.

        Args:
            spec: Sizes and method.
            tower: The frozen tower, its grid equal to the window.
            seed: Of the initial weights.
        """
        super().__init__()
        self.spec = spec
        self.tower = tower
        streams = len(spec.modalities)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.ModuleList(WindowEmbedding(c, tower.width) for c in spec.modalities.values())
            self.method = METHODS[spec.method].build(tower, streams, spec.method_options)
            self.embedding.requires_grad_(self.method.trains_embedding)
            self.head = nn.Linear(streams * tower.output_dim, len(spec.classes))
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    @property
    def embeddings(self) -> list[WindowEmbedding]:
        """The embedding of each modality, in the order of the features."""
        return cast(list[WindowEmbedding], list(self.embedding))

    def features(self, batch: Mapping[str, Tensor], context: Context | None = None) -> Tensor:
        """The concatenated features.

        Args:
            batch: Modality to (B, C, P, P) windows, and ``available`` (B, M) bool.
            context: Given to record the routing; made here otherwise.

        Returns:
            (B, M·output_dim), zero where a modality is absent.
        """
        available = batch["available"]
        modality, sample = available.T.nonzero(as_tuple=True)
        context = self.context(batch) if context is None else context
        tokens = torch.cat(
            [
                embedding(batch[name][available[:, i]])
                for i, (name, embedding) in enumerate(zip(self.spec.modalities, self.embeddings, strict=True))
            ]
        )
        encoded = encode(self.tower, tokens, self.method, context)
        features = encoded.new_zeros(*available.shape, encoded.shape[-1])
        return features.index_put((sample, modality), encoded).flatten(1)

    def context(self, batch: Mapping[str, Tensor]) -> Context:
        """The present streams of a batch, modality by modality, as the encoder sees them."""
        available = batch["available"]
        modality, sample = available.T.nonzero(as_tuple=True)
        return Context(available[sample].float(), modality)

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


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"
