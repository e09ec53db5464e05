"""Embeddings, frozen towers, method and head: inputs in, class logits out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from mamol.core.backbone import Backbone, BackboneRequest, chosen_blocks, family_of
from mamol.core.embedding import EMBEDDINGS, Embedding
from mamol.core.errors import MamolError
from mamol.core.head import ALL, HEADS, Head, HeadSizes
from mamol.core.method import METHODS, Batch, Method, Towers
from mamol.core.network import NETWORKS, PARTS, AnyNetwork, trainable
from mamol.core.spec import NetworkSpec
from mamol.core.streams import TEXT, VISUAL, Streams, Trace
from mamol.core.task import Task
from mamol.methods.per_tower import build
from mamol.network.compensator import Encoding, compensator_of, distilled
from mamol.network.encoder import encode
from mamol.network.fusion import FUSIONS


@NETWORKS.register("clip")
class Network(AnyNetwork):
    """MaMOL's network for M modalities.

    Every present stream (one modality of one sample) goes through its embedding and a frozen tower, alone or in one
    sequence with the other streams of its sample, as the fusion says. Absent streams are never embedded. Windows and
    images share the visual tower; texts have the text tower.

    Attributes:
        spec: What it was built from.
        towers: The frozen towers by name.
        embedding: Of each modality.
        method: What is added to the towers.
        head: From features to logits.
        head_blocks: Numbers of the blocks that the head reads besides the last one.
        compensator: What fills in the features of absent modalities; None without ``compensate=True``.
    """

    reads = PARTS
    options = ("compensate", "head_blocks", "train_backbone", "merged_ranks")

    def __init__(self, spec: NetworkSpec, towers: Mapping[str, Backbone], seed: int = 0) -> None:
        """Builds the trainable parts around the frozen towers.

        Args:
            spec: Sizes, method and head.
            towers: Name to frozen tower; the visual one, whose grid is that of ``spec``, and others that it needs.
            seed: Of the initial weights.

        Raises:
            MamolError: The method's settings do not fit a tower, the towers do not fit the fusion, the head cannot
                read a modality, or there is nothing to compensate.
        """
        super().__init__()
        self.spec = spec
        self.fusion = FUSIONS[spec.fusion]
        self.members = spec.members
        self.towers = nn.ModuleDict(towers)
        used = {name: towers[name] for name in self.members}
        self._widen()
        type_start = self._type_start(towers[VISUAL])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.ModuleList(
                EMBEDDINGS[m.kind](m, towers[EMBEDDINGS[m.kind].tower], type_start) for m in spec.modalities
            )
            self.method: Method[Any] = build(
                METHODS.find(spec.method), Towers(used, self.members, len(spec.modalities)), spec.method_options
            )
            self.embedding.requires_grad_(self.method.trains_embedding)
            head = HEADS.find(spec.head)
            self.head_blocks = self._head_blocks(head)
            widths = self._widths(head)
            self.head: Head = head(HeadSizes(widths, len(spec.classes), spec.grid))
            self.compensator = compensator_of(spec, widths)  # last, so that the other weights are those without it
        self._unfreeze(used)

    @classmethod
    def build(cls, spec: NetworkSpec, clip_weights: str, seed: int = 0) -> Self:
        """Around the frozen towers that the description needs.

        Raises:
            MamolError: Unknown backbone, weights that cannot be had, or options that do not fit the towers.
        """
        family = family_of(spec.backbone, clip_weights)
        request = BackboneRequest(spec.backbone, clip_weights, spec.activation)
        towers = {VISUAL: family.visual(request, spec.grid)}
        return cls(spec, {**towers, TEXT: family.text(request)} if TEXT in spec.members else towers, seed)

    def _widen(self) -> None:
        """Gives the MLPs of the visual tower the units that ``merged_ranks`` says, zeros until weights are loaded."""
        ranks = self.spec.options.get("merged_ranks")  # checkpoints of earlier versions do not say
        if ranks is None:
            return
        tower = self.tower
        if len(ranks) != len(tower.blocks):
            raise MamolError(
                f"merged_ranks={list(ranks)}: the tower has {len(tower.blocks)} blocks; give one number for each"
            )
        for block, rank in zip(tower.blocks, ranks, strict=True):
            if rank:
                block.feed_forward.absorb(torch.zeros(rank, tower.width), torch.zeros(tower.width, rank))

    def _unfreeze(self, towers: Mapping[str, Backbone]) -> None:
        """Lets those weights be trained that ``train_backbone`` means and that the method leaves in their place."""
        wanted = self.spec.options.get("train_backbone", False)  # checkpoints of earlier versions do not say
        for tower in towers.values():
            replaced = {id(weight) for weight in self.method.replaced(tower)}
            for weight in tower.trained(wanted):
                weight.requires_grad_(id(weight) not in replaced)

    def _head_blocks(self, head: type[Head]) -> tuple[int, ...]:
        """The blocks that the head reads besides the last one; the last one is read anyway."""
        wanted = self.spec.options.get("head_blocks")  # checkpoints of earlier versions do not say
        if wanted is None:
            return ()
        if head.reads != ALL:
            raise MamolError(
                "head_blocks: goes with a head that reads all tokens, such as head=pixels; "
                f"head={self.spec.head} reads one token behind the last block"
            )
        blocks = len(self.tower.blocks)
        return tuple(number for number in chosen_blocks(wanted, blocks, "head_blocks") if number < blocks - 1)

    def _widths(self, head: type[Head]) -> dict[str, int]:
        """Width of each feature that the head gets."""
        texts = [m.name for m in self.spec.modalities if EMBEDDINGS[m.kind].tower != VISUAL]
        if head.reads == ALL and texts:
            raise MamolError(
                f"head={self.spec.head} reads all tokens, and {', '.join(texts)} is read by its end; use head=class"
            )
        return {
            part: self._tower(tower).output_dim * (1 + len(self.head_blocks))
            for tower, members in self.members.items()
            for part in self.fusion.parts([self.spec.names[i] for i in members], head.reads)
        }

    def _tower(self, name: str) -> Backbone:
        return cast(Backbone, self.towers[name])

    def _embedding(self, number: int) -> Embedding:
        return cast(Embedding, self.embedding[number])

    @property
    def tower(self) -> Backbone:
        """The visual tower."""
        return self._tower(VISUAL)

    @property
    def dense(self) -> bool:
        """Whether the head classifies every pixel."""
        return self.head.dense

    @property
    def needs_complete(self) -> bool:
        """As the method."""
        return self.method.needs_complete

    @property
    def origin(self) -> str:
        """Where the frozen weights come from, in words."""
        return "; ".join(dict.fromkeys(self._tower(name).origin.source for name in self.towers))

    @property
    def random_weights(self) -> bool:
        """Whether frozen weights were never trained, so that results mean nothing as CLIP results."""
        return any(self._tower(name).origin.random for name in self.towers)

    @property
    def seen(self) -> frozenset[str]:
        """Of all towers."""
        return frozenset().union(*(self._tower(name).origin.seen for name in self.towers))

    @property
    def fingerprint(self) -> str:
        """sha256 of the frozen weights; of two towers, the fingerprints joined by +."""
        return "+".join(self._tower(name).fingerprint for name in self.towers)

    @property
    def image_size(self) -> int:
        """Side of the images that it takes, in pixels."""
        return self.spec.grid * self.tower.patch

    def normalise(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        """Sets the statistics of the training pixels.

        Args:
            mean: Modality to one number per band.
            std: Modality to one number per band.
        """
        for number, name in enumerate(self.spec.names):
            self._embedding(number).set_normalisation(mean[name], std[name])

    def features(
        self,
        batch: Batch,
        trace: Trace | None = None,
        *,
        streams: Mapping[str, Streams] | None = None,
        shortcut: bool = True,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What the head sees.

        Args:
            batch: Modality to (B, C, P, P) windows, NaN where the sensor saw nothing, (B, 3, S, S) images or (B, T)
                token numbers, and ``available`` (B, M) bool.
            trace: Where the routing is recorded, if anybody asks for it.
            streams: Tower to what a method is told of the batch; made here unless somebody wants to tell otherwise.
            shortcut: As of ``encode``.

        Returns:
            Modality to (B, output_dim), zero where it is absent, tower by tower; one entry for all with
            ``fusion=single_stream``; (B, T, width) for a head that reads all tokens. And the sum of the method's
            auxiliary losses, if it has any.
        """
        streams = self.streams(batch) if streams is None else streams
        found: dict[str, Tensor] = {}
        losses = []
        for name, members in self.members.items():
            available = batch["available"][:, members]
            tokens = torch.cat([self._tokens(batch, i, streams[name]) for i in members])
            features, loss = encode(
                self._tower(name),
                self.fusion.sequences(tokens, available),
                self.method,
                streams[name],
                trace,
                reads=self.head.reads,
                blocks=self.head_blocks,
                shortcut=shortcut,
            )
            losses += [] if loss is None else [loss]
            if self.head.reads == ALL and (counts := streams[name].token_mask) is not None:
                features = features.where(counts[..., None], 0)
            parts = self.fusion.parts([self.spec.names[i] for i in members], self.head.reads)
            by_part = self.fusion.features(features, available, self.head.reads).unbind(1)
            found |= dict(zip(parts, by_part, strict=True))
        return found, torch.stack(losses).sum() if losses else None

    def _tokens(self, batch: Batch, number: int, streams: Streams) -> Tensor:
        """The embedded present streams of a modality, (n, T, width)."""
        embedding = self._embedding(number)
        present = self.fusion.chosen(batch[self.spec.names[number]], batch["available"][:, number])
        if streams.end is not None and streams.token_mask is not None:
            present = present[:, : streams.token_mask.shape[1]]
        tokens: Tensor = embedding(present, self._tower(embedding.tower))
        return tokens

    def streams(self, batch: Batch) -> dict[str, Streams]:
        """What the methods know of a batch, tower by tower.

        Args:
            batch: As of ``features``.
        """
        available = batch["available"]
        found = {}
        for name, members in self.members.items():
            streams = replace(
                self.fusion.streams(available, members, self.spec.grid**2, name), inputs=self.spec.modalities
            )
            present = {i: self.fusion.chosen(batch[self.spec.names[i]], available[:, i]) for i in members}
            ends = [self._embedding(i).ends(x) for i, x in present.items()]
            seen = [self._embedding(i).valid(x) for i, x in present.items()]
            found[name] = _with_ends(streams, [end for end in ends if end is not None])
            if any(each is not None for each in seen):
                tokens = torch.cat(
                    [_or_all(s, x.shape[0], self.spec.grid**2, x) for s, x in zip(seen, present.values(), strict=True)]
                )
                mask = self.fusion.sequences(tokens[..., None], available[:, members])[..., 0]
                found[name] = replace(found[name], token_mask=mask)
        return found

    def _seen(self, streams: Mapping[str, Streams], available: Tensor) -> dict[str, Tensor] | None:
        """Modality to the tokens (B, T) that a sensor saw, for a head that reads them; None if all of them."""
        if self.head.reads != ALL:
            return None
        counts = streams[VISUAL].token_mask
        if counts is None:
            return None
        by_modality = self.fusion.features(counts[..., None], available[:, self.members[VISUAL]], ALL)[..., 0]
        return dict(zip(self.spec.names, by_modality.unbind(1), strict=True))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """From inputs to logits.

        Args:
            batch: As of ``features``.

        Returns:
            (B, K), or (B, P, P, K) of a dense head, and the sum of the method's auxiliary losses, if it has any.
        """
        available = batch["available"]
        features, seen, loss = self._encoded(batch)
        if self.compensator is not None:
            features, seen = self.compensator(features, available, seen)
        logits: Tensor = self.head(features, available, seen)
        return logits, loss

    def _encoded(self, batch: Batch) -> Encoding:
        """What the towers make of a batch."""
        streams = self.streams(batch)
        features, loss = self.features(batch, streams=streams)
        return Encoding(features, self._seen(streams, batch["available"]), loss)

    def trainable_parts(self) -> dict[str, nn.Module]:
        """Everything but the towers, by name."""
        parts = {"embedding": self.embedding, "method": self.method, "head": self.head}
        return parts if self.compensator is None else {**parts, "compensator": self.compensator}

    def trained_weights(self) -> dict[str, nn.Parameter]:
        """The weights of the towers that are trained, by full name; none without ``train_backbone``."""
        return {f"towers.{name}": weight for name, weight in self.towers.named_parameters() if weight.requires_grad}

    def merged_weights(self) -> dict[str, nn.Parameter]:
        """The weights of the MLPs with ``merged_ranks``, by full name: they are not those of the backbone."""
        ranks = self.spec.options.get("merged_ranks") or [0] * len(self.tower.blocks)
        blocks = [block for block, rank in zip(self.tower.blocks, ranks, strict=True) if rank]
        own = {id(weight) for block in blocks for weight in block.feed_forward.parameters()}
        return {f"towers.{name}": weight for name, weight in self.towers.named_parameters() if id(weight) in own}

    def trainable_state(self) -> dict[str, Tensor]:
        """Also those of the towers that are trained, or hold what was merged; a checkpoint has them, too."""
        own = self.trained_weights() | self.merged_weights()
        return {**super().trainable_state(), **{name: weight.detach() for name, weight in own.items()}}

    def loss(self, batch: Batch, task: Task) -> dict[str, Tensor]:
        """The method's loss of a training step, and what complete samples teach the compensator."""
        terms = self.method.loss(self, batch, task)
        if trained := self.trained_weights():
            # What a pass has no use for takes part with nothing: processes that train together expect all gradients.
            terms["loss"] = terms["loss"] + 0 * torch.stack([weight.sum() for weight in trained.values()]).sum()
        if self.compensator is None:
            return terms
        return {**terms, **distilled(self.compensator, self.head, self._encoded, batch, self.progress)}

    def count_trainable(self) -> dict[str, int]:
        """Of the embeddings, the routers (with what they share), what else the method adds, other parts, the towers."""
        routers = sum(trainable(module) for module in self.method.routers())
        parts = {name: trainable(part) for name, part in self.trainable_parts().items()}
        return {
            "embedding": parts.pop("embedding"),
            "routers": routers,
            "experts": parts.pop("method") - routers,
            **parts,
            **({"backbone": own} if (own := trainable(self.towers)) else {}),
        }

    def _type_start(self, tower: Backbone) -> Tensor | None:
        """Where the type embedding of every modality begins: ViLT's of images, or zero, with which CLIP stays as it is.

        Raises:
            MamolError: Weights that were trained with type embeddings, and a fusion without; or images and texts in one
                sequence.
        """
        spec = self.spec
        if not self.fusion.typed:
            if tower.modality_type is not None:
                raise MamolError(
                    f"fusion={spec.fusion} does not go with {tower.origin}, trained on all modalities in one sequence; "
                    "add fusion=single_stream, or give clip_weights those of a CLIP"
                )
            return None
        if not spec.takes_windows:
            others = [m.name for m in spec.modalities if not EMBEDDINGS[m.kind].trained]
            raise MamolError(
                f"fusion={spec.fusion} is for windows: {' and '.join(others)} go through CLIP's own towers; use "
                "fusion=late"
            )
        return torch.zeros(tower.width) if tower.modality_type is None else tower.modality_type


def _with_ends(streams: Streams, ends: Sequence[Tensor]) -> Streams:
    """The streams of a tower whose inputs end somewhere; tokens behind the longest would be computed for nothing."""
    if not ends:
        return streams
    end = torch.cat(list(ends))
    longest = int(end.max()) + 1 if len(end) else 1
    mask = torch.arange(longest, device=end.device) <= end[:, None]
    return replace(streams, token_mask=mask, end=end)


def _or_all(seen: Tensor | None, streams: int, tokens: int, like: Tensor) -> Tensor:
    """(streams, tokens) bool: what was seen, or everything."""
    return torch.ones(streams, tokens, dtype=torch.bool, device=like.device) if seen is None else seen
