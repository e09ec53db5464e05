"""A method on several towers: every hook reaches the instance of the tower that the streams go through."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mamol.core.attention import Prefix
from mamol.core.backbone import MLP, Backbone
from mamol.core.method import Batch, Method, Pass, Predicts
from mamol.core.streams import Streams, Trace
from mamol.core.task import Task
from mamol.methods.per_tower import PerTower
from tests.image_text import batch_of, network_of, towers
from tests.streams import tokens

MARKS = {"visual": 5.0, "text": 3.0}


class Marked(Method[Pass]):
    """Answers every hook with a number of its own."""

    def __init__(self, mark: float) -> None:
        super().__init__()
        self.mark = mark
        self.router = nn.Linear(1, 1)

    def begin(self, streams: Streams, trace: Trace | None = None) -> Pass:
        return Pass(streams, trace, [torch.tensor(self.mark)])

    def before_block(self, layer: int, x: Tensor, state: Pass) -> Tensor:
        return x + self.mark + layer

    def attention_prefix(self, layer: int, state: Pass) -> Prefix | None:
        mark = torch.full((1,), self.mark + layer)
        return mark, -mark

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        return mlp(z) + self.mark + layer

    def finish(self, x: Tensor, backbone: Backbone, state: Pass) -> Tensor:
        return backbone.finish(x) + self.mark

    def auxiliary_loss(self, state: Pass) -> Tensor | None:
        return torch.tensor(10 * self.mark)

    def loss(self, network: Predicts, batch: Batch, task: Task) -> dict[str, Tensor]:
        return {"loss": torch.tensor(self.mark)}

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        return [torch.tensor(self.mark)]

    def routers(self) -> list[nn.Module]:
        return [self.router]


@pytest.fixture
def method() -> PerTower:
    return PerTower({name: Marked(mark) for name, mark in MARKS.items()})


def hooks() -> set[str]:
    return {name for name, value in vars(Method).items() if callable(value) and not name.startswith("_")}


def test_every_public_hook_of_a_method_is_handed_on() -> None:
    assert hooks() >= {"begin", "feed_forward", "finish", "auxiliary_loss", "loss", "routers"}
    assert hooks() - vars(PerTower).keys() == set()
    assert hooks() - vars(Marked).keys() == set()  # so that this file answers them all


@pytest.mark.parametrize("name", MARKS)
def test_the_towers_own_instance_answers(name: str, method: PerTower) -> None:
    mark, x, trace = MARKS[name], tokens(), Trace()
    known = Streams(torch.ones(5, 2), torch.arange(5), tower=name)
    state = method.begin(known, trace)
    assert state.streams is known
    assert state.trace is trace
    assert [loss.item() for loss in state.losses] == [mark]
    assert torch.equal(method.before_block(2, x, state), x + mark + 2)
    prefix = method.attention_prefix(2, state)
    assert prefix is not None
    assert [part.item() for part in prefix] == [mark + 2, -mark - 2]
    frozen: Any = nn.Identity()
    assert torch.equal(method.feed_forward(2, x, frozen, state), x + mark + 2)
    tower = dict(zip(("visual", "text"), towers(), strict=True))[name]
    read = torch.randn(2, tower.width)
    assert torch.equal(method.finish(read, tower, state), tower.finish(read) + mark)
    assert [weight.item() for weight in method.replaced(tower)] == [mark]
    loss = method.auxiliary_loss(state)
    assert loss is not None
    assert loss.item() == 10 * mark


def test_the_instances_are_of_one_method_so_any_of_them_has_its_loss(method: PerTower) -> None:
    network: Any = None
    task: Any = None
    assert method.loss(network, {}, task)["loss"].item() in MARKS.values()
    assert method.routers() == [method.get_submodule(f"towers.{name}.router") for name in MARKS]


def test_auxiliary_losses_of_both_towers_reach_the_networks() -> None:
    """A method that says its auxiliary loss itself, without a layer that adds one."""

    class Own(Method[Pass]):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def auxiliary_loss(self, state: Pass) -> Tensor | None:
            return torch.tensor(self.value)

    network = network_of("baseline")
    assert network(batch_of())[1] is None
    network.method = PerTower({name: Own(mark) for name, mark in MARKS.items()})
    auxiliary = network(batch_of())[1]
    assert auxiliary is not None
    assert auxiliary.item() == sum(MARKS.values())


def test_what_one_instance_needs_the_method_needs() -> None:
    class Complete(Method[Pass]):
        needs_complete = True
        trains_embedding = False

    plain: Method[Pass] = Method()
    assert PerTower({"visual": plain, "text": Complete()}).needs_complete
    assert not PerTower({"visual": plain, "text": Complete()}).trains_embedding
    assert not PerTower({"visual": plain}).needs_complete
    assert PerTower({"visual": plain}).trains_embedding
