"""Building tables: one function for every kind of dataset."""

from functools import singledispatch

from mamol.data import prepare as scenes
from mamol.data.imagetext import prepare as image_text
from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.prepare import Options


@singledispatch
def build_tables(options: Options | ImageTextOptions) -> str:
    """Builds train, val and test tables from raw data.

    Args:
        options: What to build, of a scene or of images with texts. Everything is checked before anything is written.

    Returns:
        A report for people.

    Raises:
        MamolError: An option or a raw file is wrong, or the tables cannot be written.
        TypeError: Options of another kind.
    """
    raise TypeError(f"build_tables takes Options or ImageTextOptions, not {type(options).__name__}")


@build_tables.register
def _of_a_scene(options: Options) -> str:
    return scenes.prepare(options)


@build_tables.register
def _of_images_and_texts(options: ImageTextOptions) -> str:
    return image_text.prepare(options)
