"""Which image-text datasets there are. Adding one is a reader in a file of its own and its name here."""

from dataclasses import fields

from mamol.core.registry import Registry
from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions
from mamol.data.imagetext.food101 import FOOD101
from mamol.data.imagetext.hatefulmemes import HATEFUL_MEMES
from mamol.data.imagetext.mmimdb import MMIMDB

IMAGE_TEXT_DATASETS: Registry[ImageTextFacts] = Registry("dataset")
"""Name of a dataset, as on the command line -> its facts."""
for _facts in (MMIMDB, FOOD101, HATEFUL_MEMES):
    IMAGE_TEXT_DATASETS.add(_facts.name, _facts)


def find(dataset: str) -> ImageTextFacts | None:
    """The facts of an image-text dataset; None if there is no such dataset.

    Args:
        dataset: Its name or an alias, in any letter case.
    """
    name = dataset.lower()
    return next((facts for facts in IMAGE_TEXT_DATASETS.values() if name in (facts.name, *facts.aliases)), None)


def canonical_name(dataset: str) -> str:
    """The name of a dataset in its tables.

    Args:
        dataset: A name, or an alias of an image-text dataset; any other text is taken to be a name.
    """
    facts = find(dataset)
    return facts.name if facts else dataset


def options_of(facts: ImageTextFacts) -> set[str]:
    """The fields of ``ImageTextOptions`` that a dataset takes.

    Args:
        facts: Of the dataset.
    """
    special = {name for each in IMAGE_TEXT_DATASETS.values() for name in each.options}
    return {each.name for each in fields(ImageTextOptions)} - special | set(facts.options)
