"""Texts as CLIP's tokens."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from mamol.data.imagetext.info import TOKENS

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from torch import Tensor


@cache
def tokenizer() -> "SimpleTokenizer":
    """open_clip's tokenizer, made once per process."""
    # Imported here, so that make_arrow.py starts without torch.
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=TOKENS)


def tokens_of(texts: Sequence[str]) -> "Tensor":
    """Tokens of texts.

    Args:
        texts: B texts; an empty one has only start and end token.

    Returns:
        (B, 77) int64: start token, text cut to 75 tokens, end token, zeros.
    """
    return tokenizer()(list(texts))


def length_of(text: str) -> int:
    """How many tokens a text has before it is cut, start and end token included.

    Args:
        text: Of any length.
    """
    return len(tokenizer().encode(text)) + 2
