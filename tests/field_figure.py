"""Pictures of maps below each other, as docs/FIELD.md shows them.

``python -m tests.field_figure OUT.png MAP.png …`` writes them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

COLOURS = 256


def stack(pictures: Sequence[Path], out: Path) -> Path:
    """Writes pictures below each other, centred on white, with few colours so that the file is small.

    Args:
        pictures: From the top down.
        out: The file.

    Returns:
        ``out``.
    """
    images = [Image.open(path).convert("RGB") for path in pictures]
    page = Image.new("RGB", (max(each.width for each in images), sum(each.height for each in images)), "white")
    top = 0
    for image in images:
        page.paste(image, ((page.width - image.width) // 2, top))
        top += image.height
    page.quantize(COLOURS).save(out, optimize=True)
    return out


if __name__ == "__main__":
    sys.stdout.write(f"{stack([Path(each) for each in sys.argv[2:]], Path(sys.argv[1]))}\n")
