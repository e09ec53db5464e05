"""The file: one page with styles, programs, charts and data in it, which asks nothing of a network."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2

from mamol.evaluation.report.facts import Facts

SCRIPTS = ("base.js", "data.js", "canvas.js", "map.js", "pixel.js", "tables.js", "charts.js", "main.js")
"""In the order in which they run; each puts what others use into the one object ``page``."""
CHARTS = ("plotly", "package_data/plotly.min.js")


def render(content: Mapping[str, Any], told: Mapping[str, Any], tables: Sequence[Facts]) -> str:
    """The page.

    Args:
        content: What its programs read, plain values.
        told: Texts: ``title``, ``remarks``, ``command``.
        tables: What it is of.

    Returns:
        HTML. Scripts run only if they are those of this file (their hashes stand in its policy), whatever names the
        data have.
    """
    charts = _charts()
    scripts = [_read(name) for name in SCRIPTS]
    environment = jinja2.Environment(loader=jinja2.FunctionLoader(_read), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html").render(
        **told,
        policy=_policy([*scripts, charts]),
        style=_read("style.css"),
        scripts=scripts,
        charts=base64.b64encode(zlib.compress(charts.encode(), 9)).decode(),
        content=_json(content),
        tables=tables,
    )


def versions() -> dict[str, str]:
    """What a page is made with."""
    return {"plotly.js, in plotly (MIT licence)": version("plotly"), "jinja2": version("jinja2")}


def _read(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


def _charts() -> str:
    package, path = CHARTS
    return files(package).joinpath(path).read_text("utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Content-Security-Policy: these scripts, pictures inside the page, nothing from elsewhere."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(content: Mapping[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
