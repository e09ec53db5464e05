"""Embeddings, frozen tower, method and head: windows in, class logits out."""

from collections.abc import Mapping, Sequence
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
from mamol.models.text import TextTower, end_of_text
from mamol.models.tower import TEXT, VISUAL, Tower


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that is needed to build the trainable part again; stored with each checkpoint.

    Attributes:
        backbone: Name of the tower.
        method: Name of the method.
        modalities: Modality to bands, in the order of the features.
        classes: Class names.
        patch_size: Window side P in pixels, the token grid; of images, patches per side.
        method_options: The settings that the method reads.
        activation: Of the frozen MLPs; ``auto`` is the one that the weights were trained with.
        fusion: Where the modalities come together, ``late`` or ``single_stream``.
        inputs: Modality to what it is, ``image`` or ``text``; the others are windows.
    """

    backbone: str
    method: str
    modalities: dict[str, int]
    classes: list[str]
    patch_size: int
    method_options: dict[str, Any] = field(default_factory=dict)
    activation: str = "auto"
    fusion: str = "late"
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def members(self) -> dict[str, list[int]]:
        """Tower to the numbers of the modalities that go through it: texts have their own."""
        texts = [i for i, name in enumerate(self.modalities) if self.inputs.get(name) == TEXT]
        others = [i for i in range(len(self.modalities)) if i not in texts]
        return {tower: members for tower, members in ((VISUAL, others), (TEXT, texts)) if members}

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

    Every present stream (one modality of one sample) goes through its embedding and a frozen tower, alone or in one
    sequence with the other streams of its sample, as the fusion says. Absent streams are never embedded. Windows and
    images share CLIP's visual tower; texts have the text tower.

    Attributes:
        towers: The frozen towers by name.
        embedding: Of each modality: trained for windows, nothing for images and texts, which CLIP embeds.
        method: What is added to the towers.
        head: From features to logits.
    """

    def __init__(self, spec: NetworkSpec, tower: VisualTower, seed: int = 0, *, text: TextTower | None = None) -> None:
        """Builds the trainable parts around the frozen towers.

        Args:
            spec: Sizes and method.
            tower: The frozen visual tower, its grid equal to the window.
            seed: Of the initial weights.
            text: The frozen text tower, where ``spec`` has texts.

        Raises:
            MamolError: The method's settings do not fit a tower, or the towers do not fit the fusion.
        """
        super().__init__()
        self.spec = spec
        self.fusion = FUSIONS[spec.fusion]
        self.members = spec.members
        self.towers = nn.ModuleDict({name: module for name, module in ((VISUAL, tower), (TEXT, text)) if module})
        type_start = _type_start(tower, spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.ModuleList(
                nn.Identity() if name in spec.inputs else WindowEmbedding(bands, tower.width, type_start)
                for name, bands in spec.modalities.items()
            )
            used = {name: cast(Tower, self.towers[name]) for name in self.members}
            self.method = METHODS[spec.method].build(used, self.members, spec.method_options)
            self.embedding.requires_grad_(self.method.trains_embedding)
            width = sum(self.fusion.feature_width(len(m), used[name].output_dim) for name, m in self.members.items())
            self.head = nn.Linear(width, len(spec.classes))
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    @property
    def tower(self) -> VisualTower:
        """The visual tower."""
        return cast(VisualTower, self.towers[VISUAL])

    @property
    def origin(self) -> str:
        """Where the frozen weights come from."""
        return "; ".join(dict.fromkeys(cast(Tower, tower).origin for tower in self.towers.values()))

    @property
    def fingerprint(self) -> str:
        """sha256 of the frozen weights; of two towers, the fingerprints joined by +."""
        return "+".join(cast(Tower, tower).fingerprint for tower in self.towers.values())

    def normalise(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        """Sets the statistics of the training pixels: window modality to one number per band."""
        for name, embedding in zip(self.spec.modalities, self.embedding, strict=True):
            if isinstance(embedding, WindowEmbedding):
                embedding.set_normalisation(mean[name], std[name])

    def features(self, batch: Mapping[str, Tensor], contexts: Mapping[str, Context] | None = None) -> Tensor:
        """What the head sees.

        Args:
            batch: Modality to (B, C, P, P) windows, (B, 3, S, S) images or (B, T) token numbers, and ``available``
                (B, M) bool.
            contexts: Given to record the routing; made here otherwise.

        Returns:
            (B, M·output_dim), tower by tower, zero where a modality is absent; with ``fusion=single_stream``
            (B, output_dim).
        """
        contexts = self.contexts(batch) if contexts is None else contexts
        parts = []
        for name, members in self.members.items():
            available = batch["available"][:, members]
            tokens = torch.cat([self._tokens(batch, i, contexts[name]) for i in members])
            sequences = self.fusion.sequences(tokens, available)
            encoded = encode(cast(Tower, self.towers[name]), sequences, self.method, contexts[name])
            parts.append(self.fusion.features(encoded, available))
        return torch.cat(parts, 1)

    def _tokens(self, batch: Mapping[str, Tensor], i: int, context: Context) -> Tensor:
        """The embedded present streams of modality i, (n, T, width)."""
        name = list(self.spec.modalities)[i]
        present = batch[name][batch["available"][:, i]]
        if name not in self.spec.inputs:
            return self.embedding[i](present)
        if context.token_mask is not None:
            present = present[:, : context.token_mask.shape[1]]
        return cast(Tower, self.towers[context.tower]).embed(present)

    def contexts(self, batch: Mapping[str, Tensor]) -> dict[str, Context]:
        """What the encoder's methods know of a batch, tower by tower."""
        available = batch["available"]
        contexts = {}
        for name, members in self.members.items():
            context = self.fusion.context(available, members, self.spec.patch_size**2)
            context.tower = name
            if name == TEXT:
                names = list(self.spec.modalities)
                context.end = torch.cat([end_of_text(batch[names[i]][available[:, i]]) for i in members])
                # Tokens behind the longest text of the batch would be computed for nothing.
                longest = int(context.end.max()) + 1 if len(context.end) else 1
                context.token_mask = torch.arange(longest, device=available.device) <= context.end[:, None]
            contexts[name] = context
        return contexts

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K) and the sum of the method's auxiliary losses, if it has any."""
        contexts = self.contexts(batch)
        logits = self.head(self.features(batch, contexts))
        losses = [loss for c in contexts.values() if (loss := self.method.auxiliary_loss(c)) is not None]
        return logits, torch.stack(losses).sum() if losses else None

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


def _type_start(tower: VisualTower, spec: NetworkSpec) -> Tensor | None:
    """Where the type embedding of every modality begins: ViLT's of images, or zero, with which CLIP stays as it is.

    Raises:
        MamolError: Weights that were trained with type embeddings, and a fusion without; or images and texts in one
            sequence.
    """
    if not FUSIONS[spec.fusion].typed:
        if tower.modality_type is not None:
            raise MamolError(
                f"fusion={spec.fusion} does not go with {tower.origin}, trained on all modalities in one sequence; "
                "add fusion=single_stream, or give clip_weights those of a CLIP"
            )
        return None
    if spec.inputs:
        raise MamolError(
            f"fusion={spec.fusion} is for windows: {' and '.join(spec.inputs)} go through CLIP's own towers; use "
            "fusion=late"
        )
    return torch.zeros(tower.width) if tower.modality_type is None else tower.modality_type


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"
