"""Encoded images: reading the file, decoding it, saying what is wrong with it."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow's readers raise at corrupt files; ``UnidentifiedImageError`` is an ``OSError``."""


def decode(content: bytes) -> Image.Image:
    """The picture in an image file, as RGB; of an animation, the first frame.

    Grey is repeated, CMYK converted, alpha left out without blending, and palette colours are looked up before anything
    is resized, as in the released code.

    Args:
        content: The file's bytes.

    Raises:
        ValueError: If it is truncated, corrupt, no image, or so large that Pillow takes it for an attack.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            # Straight to RGB, Pillow warns of the transparency of a palette; alpha is left out just the same.
            through = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
            return through.convert("RGB")
    except (*_UNDECODABLE, Image.DecompressionBombError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def problem_of(path: Path) -> str | None:
    """Why an image file cannot be used; None if it can. All of it is read and decoded.

    Args:
        path: The file.
    """
    try:
        decode(path.read_bytes())
    except (OSError, ValueError) as error:
        return str(error)
    return None
