"""What is known about an image-text dataset, as data; each reader's file has its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mamol.core.errors import MamolError
from mamol.data.imagetext.raw import Raw

PLOTS = ("first", "all", "longest")
WITHOUT_TEXT = ("drop", "keep")
BROKEN_IMAGES = ("refuse", "drop")


@dataclass(frozen=True)
class ImageTextOptions:
    """What the user asks for; the options of make_arrow.py for images with texts.

    Attributes:
        dataset: Name in the registry, or an alias.
        root: Folder of the raw files.
        out: Folder of the tables.
        plots: Which of an item's texts to take: the first, the longest, or all, each as a sample.
        test_file: Which file is the test split, where a release has several; None: the first that is there, files with
            labels before those without.
        without_text: What becomes of items without a text: ``drop``, or ``keep`` with an empty one.
        broken_images: What becomes of images that cannot be decoded: ``refuse`` all, or ``drop`` their items.
    """

    dataset: str
    root: Path
    out: Path
    plots: str = "first"
    test_file: str | None = None
    without_text: str = "drop"
    broken_images: str = "refuse"

    def check(self) -> None:
        """Refuses an unknown value of an option, and a ``root`` that is no folder.

        Raises:
            MamolError: Naming the option.
        """
        allowed = {"plots": PLOTS, "without_text": WITHOUT_TEXT, "broken_images": BROKEN_IMAGES}
        for name, values in allowed.items():
            value = getattr(self, name)
            if value not in values:
                raise MamolError(f"{name.replace('_', '-')} {value!r} is unknown; known: {', '.join(values)}")
        if not self.root.is_dir():
            raise MamolError(f"root {self.root}: no such folder; give the folder of the raw files")


@dataclass(frozen=True)
class ImageTextFacts:
    """A dataset of images with texts, and how its releases are read.

    Attributes:
        name: On the command line and in tables.
        title: One line for lists.
        aliases: Other names, in lower case.
        classes: Class names in label order.
        task: ``classes``, ``genres`` or ``binary``; see ``ImageTextInfo``.
        config: Named config of run.py that fits.
        options: Options of make_arrow.py that only this dataset takes, as fields of ``ImageTextOptions``.
        read: Reads a raw folder; raises ``MamolError`` with everything that is wrong with it.
        note: What every table of it says about itself.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    task: str
    config: str
    read: Callable[[ImageTextOptions], Raw]
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    note: str = ""


def class_numbers(classes: tuple[str, ...]) -> Mapping[str, int]:
    """Class name -> number from 0.

    Args:
        classes: Class names in label order.
    """
    return {name: number for number, name in enumerate(classes)}
