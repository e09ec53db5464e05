"""What every reader of a result must know of it: stand-in data, random frozen weights."""


def marked(title: str, dataset: str, random_weights: bool) -> str:
    """Adds to a title what a reader must know.

    Args:
        title: Of a figure or a page.
        dataset: What was tested on.
        random_weights: Whether the frozen weights were never trained.
    """
    remarks = ["synthetic scene"] if dataset == "synthetic" else []
    if random_weights:
        remarks.append("random frozen weights")
    return title + (f" ({', '.join(remarks)})" if remarks else "")
