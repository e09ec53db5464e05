"""UPMC Food-101: dishes with the text of a web page, 101 classes (Wang et al., 2015).

``split.json`` has the file names of train, val and test, ``text.json`` the text of each file, ``class_idx.json`` the
classes' numbers. Images of train **and** val lie in ``images/train/<class>``, those of test in ``images/test/<class>``.
"""

from collections.abc import Mapping
from typing import Any

from mamol.core.files import sha256_of
from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions, class_numbers
from mamol.data.imagetext.raw import SHOWN, WRONG_FIELDS, Item, Problems, Raw, check_image, read_json, read_splits
from mamol.data.splits import SPLITS

CLASSES = (
    *("frozen_yogurt", "tacos", "gnocchi", "ramen", "sushi", "spaghetti_carbonara", "foie_gras", "club_sandwich"),
    *("chicken_curry", "caprese_salad", "guacamole", "fish_and_chips", "seaweed_salad", "samosa", "shrimp_and_grits"),
    *("prime_rib", "cheese_plate", "grilled_cheese_sandwich", "omelette", "macarons", "pancakes", "paella"),
    *("crab_cakes", "onion_rings", "poutine", "panna_cotta", "hamburger", "eggs_benedict", "pizza", "cup_cakes"),
    *("red_velvet_cake", "huevos_rancheros", "french_toast", "pad_thai", "beef_tartare", "beet_salad", "garlic_bread"),
    *("escargots", "cheesecake", "tuna_tartare", "french_fries", "pulled_pork_sandwich", "ravioli", "clam_chowder"),
    *("baby_back_ribs", "pork_chop", "chicken_quesadilla", "grilled_salmon", "dumplings", "fried_rice"),
    *("macaroni_and_cheese", "hot_and_sour_soup", "tiramisu", "lobster_roll_sandwich", "filet_mignon"),
    *("lobster_bisque", "risotto", "takoyaki", "waffles", "miso_soup", "scallops", "hummus", "french_onion_soup"),
    *("spaghetti_bolognese", "gyoza", "sashimi", "caesar_salad", "donuts", "pho", "creme_brulee", "edamame"),
    *("apple_pie", "carrot_cake", "croque_madame", "chocolate_cake", "mussels", "chocolate_mousse", "deviled_eggs"),
    *("ice_cream", "chicken_wings", "steak", "churros", "beignets", "breakfast_burrito", "spring_rolls", "lasagna"),
    *("cannoli", "nachos", "bruschetta", "hot_dog", "greek_salad", "beef_carpaccio", "falafel"),
    *("strawberry_shortcake", "bread_pudding", "ceviche", "peking_duck", "bibimbap", "oysters", "fried_calamari"),
    "baklava",
)
SIZES = {"train": 61142, "val": 6846, "test": 22716}
FILES = ("class_idx.json", "split.json", "text.json")
_NUMBERS = class_numbers(CLASSES)


def read(options: ImageTextOptions) -> Raw:
    """The dishes.

    Args:
        options: The folder, and what becomes of dishes without a text.

    Raises:
        MamolError: Naming everything that is missing, damaged or listed twice.
    """
    root, problems = options.root, Problems(options.root)
    splits = read_splits(root / "split.json", dict(zip(SPLITS, SPLITS, strict=True)), problems)
    texts = read_json(root / "text.json", problems) or {}
    _check_classes(read_json(root / "class_idx.json", problems), problems)
    items: dict[str, list[Item]] = {}
    without: list[str] = []
    for split, names in splits.items():
        folder = root / "images" / ("test" if split == "test" else "train")
        items[split] = []
        for name in names:
            kind = name.rpartition("_")[0]
            if kind not in _NUMBERS:
                problems.add("file names of an unknown class", name)
                continue
            image = check_image(folder / kind, name, problems)
            text = _text(texts, name, problems)
            if text is None:
                without.append(name)
            if image is not None and (text is not None or options.without_text == "keep"):
                items[split].append(Item(name, image, (text or "",), _NUMBERS[kind]))
    problems.refuse("complete the folder from the release of UPMC Food-101")
    keep = options.without_text == "keep"
    return Raw(
        items,
        sources={name: sha256_of(root / name) for name in FILES},
        listed={split: len(names) for split, names in splits.items()},
        known=SIZES,
        remarks=[_told("kept with an empty one" if keep else "dropped", without)],
        dropped={} if keep else {"without a text": len(without)},
    )


def _check_classes(found: Mapping[str, Any] | None, problems: Problems) -> None:
    if found is None:
        return
    for name in sorted(found.keys() | _NUMBERS.keys()):
        if found.get(name) != _NUMBERS.get(name):
            problems.add("classes numbered otherwise than published in class_idx.json", name, of_items=False)


def _text(texts: Mapping[str, Any], name: str, problems: Problems) -> str | None:
    """The text of a file; None without one, or with a blank one."""
    text = texts.get(name)
    if text is not None and not isinstance(text, str):
        problems.add(WRONG_FIELDS, f"text.json[{name!r}] (expected a text)")
    return text if isinstance(text, str) and text.strip() else None


def _told(what: str, names: list[str]) -> str:
    some = f" ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})" if names else ""
    return f"dishes without a text, {what}: {len(names)}{some}"


FOOD101 = ImageTextFacts(
    name="food101",
    title="UPMC Food-101: dishes and web pages; 101 classes",
    aliases=("food-101", "upmc_food101", "upmc-food-101"),
    classes=CLASSES,
    task="classes",
    config="task_finetune_food101",
    options=("without_text",),
    read=read,
)
