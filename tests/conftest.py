"""How the suite runs: in which order, and what each of its processes imports and keeps."""

import gc
from collections.abc import Generator
from pathlib import Path

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    """The process that hands tests out to others (xdist's) has no fixtures, whose imports the others would wait for."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        session.config.pluginmanager.import_plugin("tests.fixtures")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: garbage collections do not look through it, and are rarer among the many small tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the whole house go first, among them the longest: at the end a worker would be left alone with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
