"""docs/ADDING_A_METHOD.md: its example is executed as it stands there."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mamol import methods
from mamol.methods import METHODS, MethodEntry
from mamol.methods.base import Method
from mamol.training.optim import optimiser
from tests.pages import ROOT
from tests.toys import shake, toy_batch, toy_network

PAGE = ROOT / "docs" / "ADDING_A_METHOD.md"
NAME = "pattern_gain"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MethodEntry]:
    """The page's method, registered for one test."""
    file, line = blocks()
    path = tmp_path / f"{NAME}.py"
    path.write_text(file, "utf-8")
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, NAME, module)  # dataclasses look it up
    spec.loader.exec_module(module)
    registered = eval(f"{{{line}}}", {**vars(methods), **vars(module)})
    assert list(registered) == [NAME]
    monkeypatch.setitem(METHODS, NAME, registered[NAME])
    return registered[NAME]


def test_it_begins_as_the_frozen_tower(entry: MethodEntry) -> None:
    batch = toy_batch()
    plain, ours = (toy_network(2, name).features(batch) for name in ("baseline", NAME))
    torch.testing.assert_close(ours, plain)


def test_two_batches_train_it_and_nothing_else_of_the_encoder(entry: MethodEntry) -> None:
    network = toy_network(2, NAME)
    frozen = {name: value.clone() for name, value in network.tower.state_dict().items()}
    before = {name: value.clone() for name, value in network.trainable_state().items()}
    stepper = optimiser(network, "adamw", 1e-2, 0.0)
    for seed in range(2):
        batch = toy_batch(seed=seed)
        logits, auxiliary = network(batch)
        assert auxiliary is None
        stepper.zero_grad()
        torch.nn.functional.cross_entropy(logits, batch["label"]).backward()
        stepper.step()
    gains = [name for name in before if name.startswith("method.")]
    assert len(gains) == 2 * 6
    after = network.trainable_state()
    assert all(not torch.equal(after[name], before[name]) for name in gains)
    assert all(torch.equal(value, frozen[name]) for name, value in network.tower.state_dict().items())


def test_it_does_what_its_equation_says_and_is_not_disturbed_by_absent_windows(entry: MethodEntry) -> None:
    network, batch = toy_network(2, NAME), toy_batch()
    shake(network)
    other = {**batch, "lidar": batch["lidar"].clone()}
    other["lidar"][~batch["available"][:, 1]] = 1e6
    torch.testing.assert_close(network(other)[0], network(batch)[0], rtol=0, atol=0)
    layer = network.method.layers["11"]
    z, context = torch.randn(3, 4, network.tower.width), network.contexts(batch)["visual"]
    context.available = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    mlp = network.tower.blocks[11].mlp
    for n, m in enumerate(context.available):
        expected = (1 + layer.gain.weight @ m + layer.gain.bias) * mlp(z[n])
        torch.testing.assert_close(network.method.feed_forward(11, z, mlp, context)[n], expected)


def test_its_settings_are_stored_and_blocks_are_chosen(entry: MethodEntry) -> None:
    assert entry.options == ("expert_blocks",)
    method = toy_network(2, NAME, expert_blocks="last2").method
    assert isinstance(method, Method)
    assert set(method.layers) == {"10", "11"}


def test_the_hooks_on_the_page_are_those_of_a_method() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert named == {name for name, value in vars(Method).items() if callable(value) and not name.startswith("_")}
