"""Makes of README, the pages in docs/ and the docstrings one site; `make docs` runs it through mkdocs-gen-files.

On a page of the repository a link leads to a file; on the site it leads to the page that is made of that file: of a
module of mamol what its docstrings say, of any other file its text. Commands are no reference: `python run.py help`
prints their docstrings.
"""

import posixpath
import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[2]
HOME, CHANGES = "README.md", "CHANGELOG.md"
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
REFERENCE, SOURCE = "reference", "source"
LANGUAGES = {".py": "python", ".ipynb": "json", ".json": "json"}


def is_documented(file: str) -> bool:
    """Whether a file is a module whose docstrings are a page.

    Args:
        file: Its path from the root.
    """
    hidden = file.startswith("mamol/commands/") or file.endswith("__main__.py")
    return file.startswith("mamol/") and file.endswith(".py") and not hidden


def page_of(file: str) -> str:
    """Where on the site what stands in a file of the repository is.

    Args:
        file: Its path from the root.
    """
    if file == HOME:
        return "index.md"
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    if is_documented(file):
        return f"{REFERENCE}/{file.removesuffix('.py').replace('__init__', 'index')}.md"
    return f"{SOURCE}/{file.removesuffix('.md')}.md"


def moved(text: str, file: str, linked: set[str]) -> str:
    """The text of a page with links to pages of the site.

    Args:
        text: Markdown.
        file: Where it comes from, from the root.
        linked: Files of the repository that are linked; those that are met are added.
    """
    here = posixpath.dirname(page_of(file))

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), found[1]))
        linked.add(target)
        lines = (found[2] or "").startswith("#L")  # a line of a file is no place on a page
        return posixpath.relpath(page_of(target), here or ".") + ("" if lines else found[2] or "")

    return LINK.sub(link, text)


def write(page: str, text: str, source: str) -> None:
    """Adds a page.

    Args:
        page: Its path on the site.
        text: Markdown.
        source: The file of the repository that it is made of.
    """
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(text)
    mkdocs_gen_files.set_edit_path(page, source)


def text_of(file: str, linked: set[str]) -> str:
    """The page that a file is by itself.

    Args:
        file: Its path from the root.
        linked: As of ``moved``.
    """
    text, language = (ROOT / file).read_text("utf-8"), LANGUAGES.get(Path(file).suffix)
    return f"# {file}\n\n```{language}\n{text}\n```\n" if language else moved(text, file, linked)


wanted = {HOME, CHANGES, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))}
done: set[str] = set()
while waiting := sorted(name for name in wanted - done if Path(name).suffix in {".md", *LANGUAGES}):
    for name in waiting:
        done.add(name)
        if not is_documented(name):
            write(page_of(name), text_of(name, wanted), name)
tree = mkdocs_gen_files.Nav()
for name in sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "mamol").rglob("*.py")):
    if is_documented(name):
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        tree[module.split(".")] = posixpath.relpath(page_of(name), REFERENCE)
        write(page_of(name), f"# {module}\n\n::: {module}\n", name)
write(f"{REFERENCE}/SUMMARY.md", "".join(tree.build_literate_nav()), "docs/site/pages.py")
