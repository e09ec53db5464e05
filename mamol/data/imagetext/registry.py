"""Which image-text datasets there are. Adding one is a reader in a file of its own and its name here."""

from dataclasses import fields

from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions
from mamol.data.imagetext.food101 import FOOD101
from mamol.data.imagetext.hatefulmemes import HATEFUL_MEMES
from mamol.data.imagetext.mmimdb import MMIMDB

IMAGE_TEXT_DATASETS: dict[str, ImageTextFacts] = {facts.name: facts for facts in (MMIMDB, FOOD101, HATEFUL_MEMES)}
"""Name of a dataset, as on the command line -> its facts."""


def find(dataset: str) -> ImageTextFacts | None:
    """The facts of a dataset by its name or an alias, in any case of letters; None if there is none."""
    name = dataset.lower()
    return next((facts for facts in IMAGE_TEXT_DATASETS.values() if name in (facts.name, *facts.aliases)), None)


def options_of(facts: ImageTextFacts) -> set[str]:
    """The fields of ``ImageTextOptions`` that a dataset takes."""
    special = {name for each in IMAGE_TEXT_DATASETS.values() for name in each.options}
    return {each.name for each in fields(ImageTextOptions)} - special | set(facts.options)
