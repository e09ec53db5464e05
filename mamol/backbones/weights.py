"""CLIP weights from every source, always as float32 tensors in open_clip's naming."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mamol.backbones import huggingface
from mamol.backbones.architectures import ClipSpec, clip_spec, describe_sizes
from mamol.backbones.weight_files import read_tensors
from mamol.core.errors import MamolError
from mamol.core.files import sha256_of

logger = logging.getLogger(__name__)

_NOT_WEIGHTS = {
    "logit_scale",
    "logit_bias",
    "attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
    "position_ids",
}
"""Last parts of the names that published files hold beside the towers' parameters; without effect here."""

_FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class ClipWeights:
    """The weights of a CLIP model.

    Attributes:
        state: float32 tensors in open_clip's naming: ``visual.*`` and, unless the file holds only the visual tower,
            the text tower's.
        quick_gelu: Whether the weights were trained with QuickGELU, so must be used with it.
        source: What was loaded, for people.
        sha256: Of the weight file.
    """

    state: dict[str, Tensor]
    quick_gelu: bool
    source: str
    sha256: str


def load_clip_weights(source: str, backbone: str | ClipSpec) -> ClipWeights:
    """Loads CLIP weights and checks them against the backbone.

    Args:
        source: ``openai`` (open_clip's download, kept in ``~/.cache/clip``), a weight file (OpenAI's TorchScript
            archive, an open_clip state dict or training checkpoint, ``.safetensors``) or a Hugging Face folder.
        backbone: A name that ``clip_spec`` knows, or the sizes themselves.

    Returns:
        The weights: exactly the backbone's visual tower and, if the file has one, its text tower.

    Raises:
        MamolError: The weights cannot be had or read, were changed, or belong to another architecture.
    """
    spec = clip_spec(backbone) if isinstance(backbone, str) else backbone
    path = _download(backbone) if source == "openai" else Path(source).expanduser()
    quick_gelu: bool | None
    if path.is_dir():
        tensors, quick_gelu, path = huggingface.read_folder(path, spec)
        digest, kind = sha256_of(path), "Hugging Face"
    else:
        tensors, is_archive = read_tensors(path)
        digest = sha256_of(path)
        # A plain state dict with this entry was taken out of OpenAI's archive.
        quick_gelu = True if is_archive or "input_resolution" in tensors else None
        kind = _archive_kind(path, digest, backbone) if is_archive else "open_clip"
    state = _checked(tensors, spec, path)
    if quick_gelu is None:
        quick_gelu = spec.visual.quick_gelu
    elif quick_gelu != spec.visual.quick_gelu:
        activation = "QuickGELU" if quick_gelu else "GELU"
        logger.warning("%s: trained with %s, so used with it, whatever the backbone's name says", path, activation)
    return ClipWeights(state, quick_gelu, f"{kind}: {path}", digest)


def interpolate_positions(positional: Tensor, grid: int) -> Tensor:
    """Fits position embeddings to another token grid: bicubic with antialiasing, as open_clip does.

    Args:
        positional: (1 + g*g, width): class token, then the g x g grid, row by row.
        grid: Tokens per side wanted, at least 1.

    Returns:
        (1 + grid*grid, width); the class token is kept, and an equal grid is returned as it is.

    Raises:
        MamolError: The given grid is not square, or ``grid`` is below 1.
    """
    side = round((positional.shape[0] - 1) ** 0.5)
    if grid < 1 or side * side != positional.shape[0] - 1:
        raise MamolError(
            f"position embeddings: {positional.shape[0]} rows to a {grid} x {grid} grid; expected 1 + g*g rows and a "
            "grid of at least 1"
        )
    if side == grid:
        return positional
    image = positional[1:].T.reshape(1, -1, side, side)
    image = functional.interpolate(image, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positional[:1], image.flatten(2)[0].T])


def _openai_file(backbone: str | ClipSpec) -> tuple[str, str, str] | None:
    """URL, file name and sha256 of OpenAI's archive for a backbone (open_clip's register; the URL names the hash)."""
    import open_clip  # takes seconds, so imported where its register is asked

    url = open_clip.get_pretrained_url(backbone, "openai") if isinstance(backbone, str) else ""
    if not url:
        return None
    digest, name = url.split("/")[-2:]
    return url, name, digest


def _download(backbone: str | ClipSpec) -> Path:
    """The verified path of OpenAI's weights, downloaded if they are not in open_clip's cache."""
    import open_clip

    published = _openai_file(backbone)
    if published is None:
        names = [name for name in open_clip.list_pretrained_models_by_tag("openai") if name.startswith("ViT")]
        raise MamolError(
            f"clip_weights=openai: OpenAI published nothing for backbone {backbone}; it did for {', '.join(names)}; "
            "otherwise give clip_weights a file"
        )
    url, name, digest = published
    try:
        return Path(open_clip.download_pretrained_from_url(url))
    except (OSError, RuntimeError, HTTPException, TypeError) as error:  # TypeError: a reply without Content-Length
        raise MamolError(
            f"clip_weights=openai: {url} cannot be had ({str(error).partition(chr(10))[0]}); get it on another machine "
            f"(sha256 {digest}) and put it at ~/.cache/clip/{name}, or pass clip_weights=/path/to/{name}"
        ) from error


def _archive_kind(path: Path, digest: str, backbone: str | ClipSpec) -> str:
    """Names a TorchScript archive, and refuses a changed copy of the OpenAI file that it is named after."""
    import open_clip

    published = map(_openai_file, open_clip.list_pretrained_models_by_tag("openai"))
    if digest in {file[2] for file in published if file}:
        return "OpenAI"
    meant = _openai_file(backbone)
    if meant and path.name == meant[1]:
        raise MamolError(
            f"clip_weights={path}: sha256 {digest} is not the one of OpenAI's {meant[1]} ({meant[2]}): changed or "
            "incomplete; get it again, or rename it if it is not meant to be OpenAI's"
        )
    logger.warning(
        "%s (sha256 %s) is none of OpenAI's published archives; its tensors are used as they are", path, digest
    )
    return "TorchScript archive"


def _checked(tensors: Mapping[str, Tensor], spec: ClipSpec, path: Path) -> dict[str, Tensor]:
    """Returns float32 copies of exactly the towers' parameters, or refuses what is not the backbone's."""
    tensors = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in _NOT_WEIGHTS}
    if "visual.conv1.weight" not in tensors or "visual.class_embedding" not in tensors:
        raise MamolError(
            f"clip_weights={path}: no CLIP ViT visual tower in open_clip's naming (visual.conv1.weight, …), but "
            f"{', '.join(list(tensors)[:3]) or 'no tensors'}, …; give an OpenAI or open_clip ViT file, or the folder "
            "of a Hugging Face CLIPModel"
        )
    from mamol.backbones.openclip import parameter_shapes

    expected = parameter_shapes(spec)
    if all(name.startswith("visual.") for name in tensors):
        expected = {name: shape for name, shape in expected.items() if name.startswith("visual.")}
    shapes = {name: value.shape for name, value in tensors.items()}
    if shapes != expected:
        raise MamolError(f"clip_weights={path}: {_difference(shapes, expected)}")
    return as_float32({name: tensors[name] for name in expected}, path)


def as_float32(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Float32 copies: safetensors maps the file, and a frozen weight must not change with it.

    Args:
        tensors: What was read from ``path``.
        path: The file, for messages.

    Raises:
        MamolError: A value is not finite, or a tensor not of floating-point type.
    """
    for name, value in tensors.items():
        if value.dtype not in _FLOAT_TYPES or not torch.isfinite(value).all():
            raise MamolError(
                f"clip_weights={path}: '{name}' ({value.dtype}) holds NaN or infinities or is not of 16, 32 or 64 bit "
                "floating-point type; get the file again"
            )
    return {name: value.detach().to(torch.float32, copy=True).contiguous() for name, value in tensors.items()}


def _difference(found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size]) -> str:
    """Says in one line how parameter shapes differ from the backbone's."""
    if describe_sizes(found) != describe_sizes(expected):
        return (
            f"another architecture: found {describe_sizes(found)}; the backbone has {describe_sizes(expected)}; "
            "choose the backbone that the file was made for"
        )
    parts = []
    for what, names in (("missing", expected.keys() - found.keys()), ("unexpected", found.keys() - expected.keys())):
        if names:
            parts.append(f"{len(names)} parameters {what} ({', '.join(sorted(names)[:3])}{', …' * (len(names) > 3)})")
    for name in sorted(expected.keys() & found.keys()):
        if found[name] != expected[name]:
            parts.append(f"'{name}' has shape {tuple(found[name])}, the backbone's {tuple(expected[name])}")
            break
    return "; ".join(parts) + "; give the complete weights of this backbone"
