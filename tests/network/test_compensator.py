"""``compensate=True``: what stands in place of an absent feature, and what complete samples teach."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mamol.core.backbone import Backbone
from mamol.core.errors import MamolError
from mamol.core.method import METHODS
from mamol.core.modality import IMAGE, TEXT, Modality
from mamol.core.settings import Settings
from mamol.core.task import TASKS
from mamol.network.compensator import (
    RANK,
    Compensator,
    Encoding,
    Outcome,
    compensator_of,
    distance,
    distilled,
    divergence,
    weight_at,
)
from mamol.network.network import Network
from tests.invariants import (
    assert_absent_content_is_inert,
    assert_neighbours_do_not_matter,
    gradients,
    reordered,
)
from tests.network.test_holes import OPTIONS, holes, with_holes
from tests.network.test_pixels import dense_labels
from tests.pages import ROOT
from tests.toys import shake, tiny_tower, toy_batch, toy_network

every_method = pytest.mark.parametrize("method", METHODS)
both_heads = pytest.mark.parametrize("head", ["class", "pixels"])
TASK = TASKS.find("classes")


@cache
def tower() -> Backbone:
    return tiny_tower()


def made(method: str = "mamol", head: str = "class", m: int = 3, *, on: bool = True) -> Network:
    """In evaluation mode: noise and dropout are for training."""
    options = OPTIONS.get(method, {})
    network = toy_network(m, method, tower=tower(), head=head, compensate=on, **options)
    shake(network)
    network.progress = 0.5
    return network.eval()


def batch_of(head: str = "class", m: int = 3) -> dict[str, Tensor]:
    batch = toy_batch(m=m)
    return dense_labels(batch) if head == "pixels" else batch


def called(network: Network, batch: dict[str, Tensor]) -> int:
    """How often a pass calls a part of the compensator."""
    calls: list[int] = []
    handles = [part.register_forward_hook(lambda *_: calls.append(1)) for part in network.compensator.parts]
    network(batch)
    for handle in handles:
        handle.remove()
    return len(calls)


def stepped(network: Network, batch: dict[str, Tensor], *terms: str, seed: int = 3) -> dict[str, Tensor]:
    """The gradients of some terms of a training step, or of their sum."""
    network.zero_grad()
    torch.manual_seed(seed)
    found = network.loss(batch, TASK)
    sum(found[name] for name in terms or found).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@every_method
@both_heads
def test_off_it_is_not_there_and_on_the_other_weights_are_the_same(method: str, head: str) -> None:
    options = OPTIONS.get(method, {})
    on, off = (toy_network(3, method, tower=tower(), head=head, compensate=each, **options) for each in (True, False))
    state, plain = on.trainable_state(), off.trainable_state()
    assert {name.split(".")[0] for name in state.keys() - plain.keys()} == {"compensator"}
    assert all(torch.equal(value, state[name]) for name, value in plain.items())
    assert "compensator" not in off.trainable_parts()
    assert "compensator" not in off.count_trainable()
    width = tower().output_dim
    assert on.count_trainable() == {
        **off.count_trainable(),
        "compensator": 3 * (RANK * (width + 3) + RANK + width * RANK + width),
    }
    assert off.loss(batch_of(head), TASK).keys() <= {"loss", "auxiliary"}


@every_method
@both_heads
def test_a_complete_input_touches_no_compensator(method: str, head: str) -> None:
    on, off, batch = made(method, head), made(method, head, on=False), batch_of(head)
    on.load_trainable_state({**on.trainable_state(), **off.trainable_state()})
    on.eval()
    off.eval()
    assert called(on, batch) == 3
    assert not torch.equal(on(batch)[0], off(batch)[0])
    batch["available"][:] = True
    assert called(on, batch) == 0
    assert torch.equal(on(batch)[0], off(batch)[0])


@every_method
@both_heads
def test_the_networks_invariants_hold(method: str, head: str) -> None:
    """What is absent is inert, samples are alone, modalities have no order."""
    network, batch = made(method, head), batch_of(head)
    order = [2, 0, 1]
    moved = {**batch, "available": batch["available"][:, order]}
    if head == "class":
        other = reordered(network, order)
        torch.testing.assert_close(other(moved)[0], network(batch)[0], atol=1e-5, rtol=1e-5)
    assert_neighbours_do_not_matter(network, batch)
    assert_absent_content_is_inert(network, batch, torch.nan)


@every_method
@both_heads
def test_every_weight_has_a_gradient_and_the_masked_teach_nothing(method: str, head: str) -> None:
    """Also where batches hold what the mask says is missing, as for methods that make a complete pass."""
    network, batch = made(method, head).train(), batch_of(head)
    batch["available"][1] = True
    batch["available"][2:, 1] = False
    batch["available"][2:, 0] = True
    grads = stepped(network, batch)
    assert grads.keys() == {name for name, p in network.named_parameters() if p.requires_grad}
    batch["lidar"][2:] = 1e30
    for name, gradient in stepped(network, batch).items():
        assert torch.equal(gradient, grads[name]), name
    for rows in ([0], [3]):  # a batch of one pattern, complete or not, as a rank may get
        alone = {name: value[rows] for name, value in batch.items()}
        assert stepped(network, alone).keys() == grads.keys()


def test_the_plain_form() -> None:
    """Sample by sample: a bottleneck of the mean of the present features and the pattern."""
    network, batch = made(), batch_of()
    features, _ = network.features(batch)
    filled, _ = network.compensator(features, batch["available"], None)
    for b, pattern in enumerate(batch["available"]):
        present = [features[name][b] for name, has in zip(features, pattern, strict=True) if has]
        for j, name in enumerate(features):
            down, _, up = network.compensator.parts[j]
            known = torch.cat([torch.stack(present).mean(0), pattern.float()])
            expected = up(functional.gelu(down(known)))
            torch.testing.assert_close(filled[name][b], features[name][b] if pattern[j] else expected)
    heard = network.head(filled, batch["available"])
    assert torch.equal(network(batch)[0], heard)


def test_of_tokens_each_is_compensated_by_those_that_were_seen() -> None:
    """A window that is absent as a whole; a hole in a present one stays zero, and so does what nobody saw."""
    network, batch = made(head="pixels"), batch_of("pixels")
    batch["available"][:] = torch.tensor([[1, 1, 0]] * 6, dtype=torch.bool)
    gone = holes(batch)
    gone["hsi"][0, 0, 1] = gone["lidar"][0, 0, 1] = True
    gone["hsi"][0, 0, 2], gone["lidar"][0, 0, 2] = True, False
    torn = with_holes(batch, gone)
    heard: dict[str, Any] = {}
    network.head.register_forward_hook(lambda _, inputs, __: heard.update(features=inputs[0], seen=inputs[2]))
    network(torn)
    features, seen = heard["features"], heard["seen"]
    assert torch.equal(seen["hsi"], ~gone["hsi"].flatten(1)), "holes stay holes"
    assert (features["hsi"][gone["hsi"].flatten(1)] == 0).all()
    assert torch.equal(seen["sar"], seen["hsi"] | seen["lidar"])
    assert torch.equal((features["sar"] != 0).any(-1), seen["sar"])
    own = features["lidar"][0, 2]
    known = torch.cat([own, torch.tensor([1.0, 1.0, 0.0])])
    torch.testing.assert_close(features["sar"][0, 2], network.compensator.parts[2](known))


@every_method
@both_heads
def test_the_gradient_never_reaches_the_teacher(method: str, head: str) -> None:
    """Of all weights, those of the compensator alone get one from the terms that teach."""
    network, batch = made(method, head).train(), batch_of(head)
    batch["available"][:4] = True
    for term in ("distill", "divergence"):
        network.zero_grad()
        network.loss(batch, TASK)[term].backward()
        reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        assert reached
        assert {name.split(".")[0] for name in reached} == {"compensator"}
    assert all(p.requires_grad for p in network.head.parameters())


def taught(network: Network, batch: dict[str, Tensor], seed: int = 0) -> tuple[list[dict[str, Tensor]], Any]:
    """The batches that a network encodes to teach, and the terms."""
    shown = []

    def encode(given: dict[str, Tensor]) -> Encoding:
        shown.append(given)
        return network._encoded(given)

    torch.manual_seed(seed)
    return shown, distilled(network.compensator, network.head, encode, batch, 1.0)


def test_only_complete_samples_teach_and_every_incomplete_pattern_is_drawn() -> None:
    network, batch = made(), batch_of()
    batch["available"][:4] = True
    batch["available"][4:] = torch.tensor([True, False, True])
    (student, teacher), _ = taught(network, batch)
    assert torch.equal(teacher["available"], torch.ones(4, 3, dtype=torch.bool))
    assert all(torch.equal(student[name], batch[name][:4]) for name in ("hsi", "lidar", "sar", "label"))
    drawn = {tuple(row) for seed in range(12) for row in taught(network, batch, seed)[0][0]["available"].tolist()}
    assert {sum(row) for row in drawn} == {1, 2}
    assert len(drawn) == 6
    assert torch.equal(taught(network, batch)[0][0]["available"], student["available"]), "torch's seed decides"


def test_the_terms_are_those_of_the_two_passes() -> None:
    """The student's answer is that of the network to the drawn pattern, the teacher's that to the whole sample."""
    network, batch = made(), batch_of()
    batch["available"][:] = True
    (student, teacher), terms = taught(network, batch)
    passes = []
    for given in (student, teacher):
        features, _ = network.compensator(network.features(given)[0], given["available"], None)
        passes.append(Outcome(features, network(given)[0]))
    torch.testing.assert_close(terms["distill"], 5 * distance(*passes))
    torch.testing.assert_close(terms["divergence"], divergence(passes[0].features, student["available"]))


def test_without_complete_samples_nothing_is_taught_or_drawn() -> None:
    network, batch = made(), batch_of()
    batch["available"][:, 0], batch["available"][:, 1] = True, False
    torch.manual_seed(0)
    state = torch.get_rng_state()
    terms = network.loss(batch, TASK)
    assert float(terms["distill"]) == float(terms["divergence"]) == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_the_weight_comes_after_a_tenth_of_the_steps() -> None:
    assert [weight_at(progress) for progress in (0, 0.05, 0.0999, 0.1, 0.5, 1)] == [0, 0, 0, 5, 5, 5]
    network, batch = made(), batch_of()
    for progress, taught in ((0.0, False), (0.099, False), (0.1, True)):
        network.progress = progress
        terms = {name: value.detach() for name, value in network.loss(batch, TASK).items()}
        assert terms.keys() == {"loss", "auxiliary", "distill", "divergence"}
        assert (float(terms["distill"]) > 0) == taught
        assert float(terms["divergence"]) > 0


@both_heads
def test_divergence_is_0_for_orthogonal_and_1_for_parallel_features(head: str) -> None:
    """Whatever the lengths; of an absent and a present modality alone, sample by sample."""
    available = torch.tensor([[True, False], [False, True], [True, False]])
    own = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 0.5]])
    across = torch.tensor([[0.0, 3, 0], [0, 0, 1], [4, 0, 0]])

    def shaped(x: Tensor) -> Tensor:
        """As tokens of different lengths, whose mean has the direction of the feature."""
        return x if head == "class" else torch.stack([x, 3 * x], 1)

    assert float(divergence({"a": shaped(own), "b": shaped(across)}, available)) == 0
    assert float(divergence({"a": shaped(own), "b": shaped(-7 * own)}, available)) == pytest.approx(1)
    one = torch.stack([own[0], across[1], across[2]])
    assert float(divergence({"a": shaped(own), "b": shaped(one)}, available)) == pytest.approx(1 / 3)
    three = {"a": shaped(own), "b": shaped(own), "c": shaped(across)}
    pattern = torch.tensor([[True, True, False]] * 3)
    assert float(divergence(three, pattern)) == 0, "present ones may be alike"


def test_distance_is_that_of_unit_vectors_and_of_soft_answers() -> None:
    torch.manual_seed(0)
    sizes = {"a": 4, "b": 2}
    student, teacher = (
        Outcome({name: torch.randn(5, width) for name, width in sizes.items()}, torch.randn(5, 3)) for _ in range(2)
    )
    plain = []
    for n in range(5):
        s, t = (torch.cat([each.features["a"][n], each.features["b"][n]]) for each in (student, teacher))
        p, q = ((each.logits[n] / 2).softmax(0) for each in (teacher, student))
        plain.append(((s / s.norm() - t / t.norm()) ** 2).mean() + 4 * (p * (p / q).log()).sum())
    torch.testing.assert_close(distance(student, teacher), torch.stack(plain).mean())
    assert float(distance(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_pixels_that_the_student_does_not_see_are_left_out() -> None:
    """It could only learn the mean there."""
    whole, partly = ({name: torch.randn(2, 4, 3) for name in "ab"} for _ in range(2))
    logits, said = torch.randn(2, 2, 2, 5), torch.randn(2, 2, 2, 5)
    for tokens in partly.values():
        tokens[1, 1] = 0
    student, teacher = Outcome(partly, said), Outcome(whole, logits.clone())
    before = distance(student, teacher)
    teacher.logits[1, 0, 1] = 100 * torch.randn(5)
    assert torch.equal(distance(student, teacher), before)
    teacher.logits[1, 1, 1] = 100 * torch.randn(5)
    assert not torch.equal(distance(student, teacher), before)
    nothing = Outcome({name: torch.zeros(2, 4, 3) for name in "ab"}, said)
    assert float(distance(nothing, teacher)) == 0


def test_training_teaches_the_compensator() -> None:
    """With all else held still, answers to incomplete samples come closer to those to complete ones."""
    network, batch = made("baseline", m=2), batch_of(m=2)
    batch["available"][:] = True
    shown, _ = taught(network, batch)
    with torch.no_grad():
        still = {given["available"].all().item(): network._encoded(given) for given in shown}
    optimiser = torch.optim.Adam(network.compensator.parameters(), 1e-2)
    found = []
    for _ in range(60):
        torch.manual_seed(0)
        terms = distilled(network.compensator, network.head, lambda x: still[x["available"].all().item()], batch, 1.0)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
        found.append(float(terms["distill"].detach()))
    assert found[-1] < found[0] / 2


@both_heads
def test_under_autocast_nothing_breaks(head: str) -> None:
    network, batch = made(head=head).train(), batch_of(head)
    with torch.autocast("cpu", torch.bfloat16):
        found = stepped(network, batch)
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    assert gradients(network, batch).keys() <= found.keys()


def test_it_is_refused_where_there_is_nothing_to_compensate() -> None:
    with pytest.raises(
        MamolError, match="compensate=True: fusion=single_stream leaves absent modalities out"
    ) as caught:
        toy_network(2, fusion="single_stream", compensate=True, tower=tower())
    assert "\n" not in str(caught.value)
    with pytest.raises(MamolError, match="compensate=True: hsi is alone and never absent; use compensate=False"):
        toy_network(1, compensate=True, tower=tower())
    message = "compensate=True: network=unet has no compensate to choose; leave it out, or use network=clip"
    with pytest.raises(MamolError, match=message):
        Settings.of({"network": "unet", "compensate": True})


def test_images_and_texts_are_refused() -> None:
    network = toy_network(2, tower=tower())
    pairs = (Modality("image", IMAGE, 3), Modality("text", TEXT, 40))
    spec = replace(network.spec, modalities=pairs, options={"compensate": True})
    with pytest.raises(MamolError, match="compensate=True is for windows of scenes, and this table has image, text"):
        compensator_of(spec, {"image": 8, "text": 8})


def test_sizes_are_those_that_the_page_states() -> None:
    """Of ViT-B/16, two modalities."""
    page = (ROOT / "docs" / "METHODS.md").read_text()
    assert f"{sum(p.numel() for p in Compensator(2, 512).parameters()):,} parameters" in page
