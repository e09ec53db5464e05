"""The line ranges in docs/METHODS.md: ``python -m tests.method_lines`` writes them anew."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.pages import ROOT

PAGE = ROOT / "docs" / "METHODS.md"
ROW = re.compile(
    r"^\| [^|\n]+ \| [^|\n]+ \| `(?P<file>\S+\.py)` \| `(?P<name>\S+)` \|(?P<lines>[^|\n]*)\|$", re.MULTILINE
)


def objects(source: str) -> dict[str, tuple[int, int]]:
    """First and last line of every class, function and method, by its dotted name."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, tuple[int, int]]]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                decorators = [decorator.lineno for decorator in node.decorator_list]
                yield prefix + node.name, (min([node.lineno, *decorators]), node.end_lineno or node.lineno)
                yield from walk(node.body, f"{prefix}{node.name}.")

    return dict(walk(ast.parse(source).body, ""))


def refreshed(page: str, root: Path = ROOT) -> str:
    """The page with the ranges that its objects have now.

    Args:
        page: Text with rows ``| equation | meaning | `file` | `object` | lines |``.
        root: What the files are relative to.

    Raises:
        LookupError: A file or object is not there.
    """

    def row(match: re.Match[str]) -> str:
        file, name = match["file"], match["name"]
        there = objects((root / file).read_text()) if (root / file).is_file() else {}
        if name not in there:
            raise LookupError(f"docs/METHODS.md names {name} in {file}, which is not there")
        start, end = there[name]
        before = match[0][: match.start("lines") - match.start()]
        return f"{before} [{start}–{end}](../{file}#L{start}-L{end}) |"

    return ROW.sub(row, page)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text()))
