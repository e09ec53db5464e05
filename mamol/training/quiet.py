"""What other libraries say to those who did not ask."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

NOISY = (
    *("sacred", "pytorch_lightning", "lightning.pytorch", "lightning.fabric"),
    *("matplotlib", "rasterio", "onnx_ir", "onnxscript"),
)
KNOWN = (
    ".*module\\(s\\) in eval mode.*",  # the frozen tower, on purpose
    ".*LeafSpec.*",  # between Lightning and torch
    ".*exists and is not empty.*",  # a continued run
    ".*The dirpath has changed.*",  # a continued run that was moved
    ".*does not have many workers.*",  # loading is one gather per batch
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what is said on purpose or by mistake; at the end, loggers and warnings are as before."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        for message in KNOWN:
            warnings.filterwarnings("ignore", message=message)
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


def no_advertisement(record: logging.LogRecord) -> bool:
    """A filter of a logger: False for what Lightning recommends to install.

    Args:
        record: What is to be said.
    """
    return not record.getMessage().startswith("💡")


@contextmanager
def as_a_guest() -> Iterator[None]:
    """Quiet, and with torch's number of threads as before at the end: what happens in somebody's notebook."""
    threads = torch.get_num_threads()
    try:
        with quiet():
            yield
    finally:
        torch.set_num_threads(threads)
