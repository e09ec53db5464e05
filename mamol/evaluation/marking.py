"""What every reader of a result must know of it: stand-in data, random frozen weights, a backbone that saw the test."""

from collections.abc import Mapping

from mamol.core.network import AnyNetwork

TRANSDUCTIVE = "transductive"


def marked(title: str, dataset: str, random_weights: bool, transductive: bool = False) -> str:
    """Adds to a title what a reader must know.

    Args:
        title: Of a figure or a page.
        dataset: What was tested on.
        random_weights: Whether the frozen weights were never trained.
        transductive: Whether they were trained on the scene of the test, without its labels.
    """
    remarks = ["synthetic scene"] if dataset == "synthetic" else []
    if random_weights:
        remarks.append("random frozen weights")
    if transductive:
        remarks.append(TRANSDUCTIVE)
    return title + (f" ({', '.join(remarks)})" if remarks else "")


def is_transductive(network: AnyNetwork, sources: Mapping[str, str]) -> bool:
    """Whether frozen weights were trained on a raw file of what is tested, without its labels.

    Args:
        network: What is tested.
        sources: Raw file -> sha256, of the table or scene.
    """
    return not network.seen.isdisjoint(sources.values())
