"""A network as an ONNX file: written, opened, and asked; needs the packages of the extra ``export``."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.network.dense import LOGITS, Graph
from mamol.training.quiet import quiet

OPSET = 18
OPTIMISE = True
"""Whether constants are folded in the file, which takes half of the time; onnxruntime folds what is left."""
BATCH = "batch"
"""Name of the dimension that a caller chooses."""
Arrays = Mapping[str, NDArray[Any]]


def check_packages() -> None:
    """Refuses an export without the packages that it needs.

    Raises:
        MamolError: One is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MamolError(
            f"export: {error.name} is not installed; onnx, onnxscript and onnxruntime come with: pip install "
            "mamol[export]"
        ) from error


def write_onnx(path: Path, graph: Graph, inputs: Sequence[Tensor], metadata: Mapping[str, str]) -> None:
    """Writes the file; the number of samples stays open.

    Args:
        path: Of the file.
        graph: What is written, on the CPU.
        inputs: Two samples or more, in the order of ``graph.inputs``.
        metadata: What the file says of itself.

    Raises:
        MamolError: The network is no graph that can be written, or the file would be too large.
    """
    samples = torch.export.Dim(BATCH)
    shapes = (tuple({0: samples} for _ in inputs),)
    try:
        with torch.no_grad(), _silence():
            made = torch.onnx.export(
                graph,
                tuple(inputs),
                dynamo=True,
                input_names=graph.inputs,
                output_names=[LOGITS],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                optimize=OPTIMISE,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise MamolError(
            f"export: {graph.network.spec.label} cannot be written as one graph ({reason}); export a run of another "
            "method or network"
        ) from error
    if made is None:
        raise RuntimeError("torch.onnx.export gave nothing, though no file was named")
    made.model.metadata_props.update(metadata)
    try:
        made.save(path, external_data=False)
    except ValueError as error:
        raise MamolError(f"export: {path.name} would be larger than a file of ONNX can be, 2 GB ({error})") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps to itself what the exporter and its packages say of their own work."""
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class OnnxFile:
    """An open file, on one thread of the CPU.

    Attributes:
        inputs: Names of its inputs.
        metadata: What it says of itself.
    """

    def __init__(self, path: Path) -> None:
        """Opens it.

        Args:
            path: The file.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def logits(self, arrays: Arrays) -> NDArray[np.float32]:
        """What it says of samples.

        Args:
            arrays: Input to values; others than its inputs are not looked at.
        """
        (found,) = self._session.run([LOGITS], {name: arrays[name] for name in self.inputs})
        logits: NDArray[np.float32] = found
        return logits
