"""A very small CLIP of two towers, its network for images and texts, and batches."""

from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor

from mamol.backbones.architectures import ClipSpec, TextSpec, TowerSpec
from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import build_clip, text_transformer, vision_transformer
from mamol.backbones.text import TextTower
from mamol.core.backbone import Origin
from mamol.core.method import METHODS
from mamol.core.modality import Modality
from mamol.core.spec import NetworkSpec
from mamol.core.streams import TEXT, VISUAL
from mamol.network.network import Network
from tests.streams import randomise

SIDE, CONTEXT, VOCABULARY, OUT, CLASSES = 16, 10, 30, 6, 3
START, END = VOCABULARY - 2, VOCABULARY - 1
SPEC = ClipSpec(
    TowerSpec(width=24, layers=6, heads=2, patch_size=4, grid=4, output_dim=OUT, mlp_ratio=4.0, quick_gelu=True),
    TextSpec(width=16, layers=6, heads=2, context_length=CONTEXT, vocab_size=VOCABULARY, quick_gelu=True),
)


def small_clip() -> CLIP:
    """open_clip's model with random weights."""
    model = build_clip(SPEC)
    randomise(model, scale=0.2)
    return model.eval()


def towers(model: CLIP | None = None) -> tuple[VisualTower, TextTower]:
    """Both towers with the weights of ``model``."""
    state = (model or small_clip()).state_dict()
    visual, text = vision_transformer(SPEC.visual), text_transformer(SPEC.text, OUT)
    visual.load_state_dict({n.removeprefix("visual."): w for n, w in state.items() if n.startswith("visual.")})
    text.load_state_dict({n: state[n] for n in text.state_dict()})
    return VisualTower(visual, Origin("test")), TextTower(text, Origin("test"))


def network_of(method: str = "mamol", names: tuple[str, ...] = ("image", "text"), **options: Any) -> Network:
    """A network of one or both modalities; options that the method does not know are left out."""
    known = {name: value for name, value in options.items() if name in METHODS[method].options}
    sizes = {"image": 3, "text": CONTEXT}
    spec = NetworkSpec(
        backbone="test",
        method=method,
        modalities=tuple(Modality(name, name, sizes[name]) for name in names),
        classes=tuple(str(k) for k in range(CLASSES)),
        grid=SPEC.visual.grid,
        method_options=known,
    )
    images, texts = towers()
    return Network(spec, {VISUAL: images, **({TEXT: texts} if "text" in names else {})}).eval()


def texts_of(samples: int, generator: torch.Generator) -> Tensor:
    """Token numbers (samples, CONTEXT): start, words, end, then zeros; lengths differ."""
    ids = torch.zeros(samples, CONTEXT, dtype=torch.long)
    for n in range(samples):
        length = 1 + n % (CONTEXT - 3)
        ids[n, 0], ids[n, length + 1] = START, END
        ids[n, 1 : length + 1] = torch.randint(1, START, (length,), generator=generator)
    return ids


def batch_of(samples: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Random images and texts: complete, without text, without image, in turns."""
    generator = torch.Generator().manual_seed(seed)
    code = torch.arange(samples) % 3
    return {
        "image": torch.randn(samples, 3, SIDE, SIDE, generator=generator),
        "text": texts_of(samples, generator),
        "available": torch.stack([code != 2, code != 1], 1),
        "label": torch.arange(samples) % CLASSES,
    }
