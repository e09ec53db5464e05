"""An area: many scenes, each with a scene.json of its own."""

import json
from pathlib import Path

from mamol.core.errors import MamolError

DESCRIPTION = "scene.json"


def scenes_of(area: Path) -> tuple[Path, ...]:
    """The scenes of an area, as files scene.json.

    Args:
        area: A folder whose folders have a scene.json each and which has none itself: these, by the folders' names. Or
            a scene.json, or the folder it lies in, that lists them: ``{"scenes": ["north", "south/scene.json"]}``,
            folders or files, relative to it.

    Returns:
        Nothing for what is no area, such as a single scene.

    Raises:
        MamolError: What is listed is not there, or is listed twice.
    """
    described = area / DESCRIPTION if area.is_dir() else area
    if not described.is_file():
        return tuple(sorted(area.glob(f"*/{DESCRIPTION}"))) if area.is_dir() else ()
    try:
        content = json.loads(described.read_text("utf-8"))
    except (OSError, ValueError):
        return ()  # whoever reads it as a scene says what is wrong
    if not isinstance(content, dict) or "scenes" not in content:
        return ()
    names = content["scenes"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise MamolError(f'{described}: scenes is {names!r}; expected a list of folders, ["north", "south"]')
    files = tuple(_file(described, name) for name in names)
    if len({file.resolve() for file in files}) < len(files):
        raise MamolError(f"{described}: scenes names a scene twice; name each once")
    return files


def _file(described: Path, name: str) -> Path:
    path = described.parent / name
    file = path / DESCRIPTION if path.is_dir() else path
    if not file.is_file():
        raise MamolError(f"{described}: scenes names {name}, and there is no {file}; name folders with a {DESCRIPTION}")
    return file
