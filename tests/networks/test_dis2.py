"""DIS2 as a whole: which branch a sample goes through, and what a training step descends."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mamol.core.errors import MamolError
from mamol.core.task import TASKS, UNLABELLED
from mamol.networks.dis2 import DIS2, drawn, incomplete
from mamol.networks.dis2_branch import Fused, Output
from mamol.networks.dis2_encoders import Pools
from mamol.networks.dis2_losses import STRENGTH, WARM_UP, distillation, divergence, strength
from tests.networks.test_own import batch_of, made
from tests.pages import ROOT

SIDE = 8
TASK = TASKS.find("classes")
TERMS = ["loss", "scales", "modalities", "distillation", "divergence"]


def dis2(m: int = 3, side: int = SIDE) -> DIS2:
    network = made("dis2", m, side)
    assert isinstance(network, DIS2)
    network.progress = 1.0
    return network


def output(samples: int, seed: int) -> Output:
    """As a branch gives it, of two fine levels."""
    generator = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> Tensor:
        return torch.randn(samples, *shape, generator=generator).requires_grad_()

    fused = Fused([values(32, 4, 4), values(64, 2, 2), values(128, 2, 2)], values(128))
    return Output(values(3, 8, 8), [], values(32, 8, 8), values(3, 2, 2), fused)


def forbidden(*_: Any) -> None:
    raise AssertionError("not to be called")


def terms_of(network: DIS2, batch: dict[str, Tensor], seed: int = 2) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.loss(batch, TASK)


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(1, keepdim=True).sqrt()


def test_a_complete_sample_touches_no_compensator() -> None:
    network, batch = dis2(), batch_of(SIDE)
    batch["available"][:] = True
    for part in [*network.compensators, network.missing, *network.decoders]:
        part.register_forward_pre_hook(forbidden)
    logits = network(batch)[0]
    own = [encoder([batch[name]], torch.ones(6, 1, dtype=torch.bool)) for encoder, name in named(network)]
    direct = network.full(list(zip(*own, strict=True))).logits
    assert torch.equal(logits, direct.movedim(1, 3))
    logits.sum().backward()
    untouched = (network.compensators, network.missing, network.standing, network.beside, network.pools)
    assert all(parameter.grad is None for part in untouched for parameter in part.parameters())


def named(network: DIS2) -> list[tuple[Any, str]]:
    return list(zip(network.encoders, network.spec.names, strict=True))


def test_an_incomplete_sample_goes_through_the_other_branch_with_what_stands_in() -> None:
    """Of two modalities: what the source does where the second is missing."""
    network, batch = dis2(m=2), batch_of(SIDE, m=2)
    batch["available"][:] = torch.tensor([True, False])
    for part in (network.full, network.encoders[1], network.compensators[0]):
        part.register_forward_pre_hook(forbidden)
    there = torch.ones(6, 1, dtype=torch.bool)
    own, instead = (part([batch["hsi"]], there) for part in (network.encoders[0], network.compensators[1]))
    direct = network.missing(list(zip(own, instead, strict=True))).logits
    assert torch.equal(network(batch)[0], direct.movedim(1, 3))


def test_patterns_can_be_mixed_within_a_batch() -> None:
    network, batch = dis2(), batch_of(SIDE)
    assert len(torch.unique(batch["available"], dim=0)) > 4
    mixed = network(batch)[0]
    for n, pattern in enumerate(batch["available"]):
        alike = {**batch, "available": pattern.expand(6, -1)}
        torch.testing.assert_close(mixed[n], network(alike)[0][n], rtol=1e-4, atol=1e-5)


def test_a_student_has_a_part_of_what_its_sample_has() -> None:
    assert incomplete(2).tolist() == [[True, False], [False, True]]
    available = torch.tensor([[True, True, True], [True, True, False], [False, False, True]]).repeat_interleave(400, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patterns = drawn(available)
    assert patterns.any(1).all()
    assert not (patterns & ~available).any()
    found = [torch.unique(each, dim=0, return_counts=True)[1] for each in patterns.split(400)]
    assert [len(each) for each in found] == [6, 3, 1], "all that is possible, never the complete one"
    assert found[0].min() > 40
    assert found[1].min() > 100


def test_a_step_has_these_terms_whatever_the_batch_holds() -> None:
    network, batch = dis2(), batch_of(SIDE)
    assert list(terms_of(network, batch)) == TERMS
    batch["available"][:] = torch.tensor([True, False, True])
    terms = terms_of(network, batch)
    assert list(terms) == TERMS
    assert terms["distillation"] == 0
    torch.stack(list(terms.values())).sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in gradients), "what several processes wait for"
    taught = [parameter.grad for parameter in network.full.parameters() if parameter.grad is not None]
    assert not any(gradient.any() for gradient in taught), "no teacher without complete samples"
    assert not network.needs_complete


def test_a_step_without_any_label_says_nothing() -> None:
    network, batch = dis2(), batch_of(SIDE)
    batch["label"][:] = UNLABELLED
    terms = terms_of(network, batch)
    assert [float(terms[name].detach()) for name in TERMS[:3]] == [0, 0, 0]
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_terms_are_those_of_their_passes() -> None:
    """Every sample complete and of the same draw, so that each pass can be made by itself."""
    network, batch = dis2(m=2), batch_of(SIDE, m=2)
    batch["available"][:] = True
    batch = {name: value[:1] for name, value in batch.items()}
    terms = terms_of(network, batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        (left,) = drawn(batch["available"]).nonzero()[:, 1].tolist()
    there = torch.ones(1, 1, dtype=torch.bool)
    own = [encoder([batch[name]], there) for encoder, name in named(network)]
    instead = network.compensators[1 - left]([batch[network.spec.names[left]]], there)
    slots = list(zip(own[left], instead, strict=True))
    teacher = network.full(list(zip(*own, strict=True)))
    student = network.missing(slots if left == 0 else [level[::-1] for level in slots])
    label = batch["label"]

    def plain(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label, ignore_index=UNLABELLED)

    alone = [decoder(levels, SIDE) for decoder, levels in zip(network.decoders, own, strict=True)]
    pooled = zip(network.standing[1 - left](instead), network.beside[left](own[left]), strict=True)
    expected = {
        "loss": plain(teacher.logits) + plain(student.logits),
        "scales": sum(plain(scale) for each in (teacher, student) for scale in each.scales),
        "modalities": sum(map(plain, alone)),
        "distillation": 5 * distillation(student, teacher, network.pools, torch.tensor([True])),
        "divergence": sum(functional.cosine_similarity(a, b).square().mean() for a, b in pooled),
    }
    assert (len(teacher.scales), len(instead)) == (3, 3)
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_a_pixel_does_not_train_a_student_that_cannot_see_it() -> None:
    network, batch = dis2(m=2), batch_of(SIDE, m=2)
    batch["available"][:] = torch.tensor([True, False])
    batch["label"][:, 0, 0] = 0
    other = {**batch, "label": batch["label"].clone()}
    other["label"][:, 0, 0] = 1
    assert not torch.equal(terms_of(network, batch)["loss"], terms_of(network, other)["loss"])
    for each in (batch, other):
        each["hsi"] = each["hsi"].clone()
        each["hsi"][:, :, 0, 0] = torch.nan
    for name, value in terms_of(network, batch).items():
        assert torch.equal(value, terms_of(network, other)[name]), name


def test_what_a_student_lost_does_not_reach_it() -> None:
    """The sample has it, and the teacher learns of it; the student's pattern leaves it out."""
    network, batch = dis2(m=2), batch_of(SIDE, m=2)
    batch["available"][:] = True
    windows = network.windows(batch)
    own = network._own(windows, batch["available"])
    pattern = torch.tensor([True, False]).expand(6, -1)
    spoilt = [windows[0], windows[1] + 9]
    slots, _ = network._slots(windows, own, pattern)
    others, _ = network._slots(spoilt, network._own(spoilt, batch["available"]), pattern)
    for level, other in zip(slots, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(level, other, strict=True))


def test_the_distillation_is_that_of_the_source() -> None:
    student, teacher, rows = output(4, 0), output(2, 1), torch.tensor([True, False, False, True])
    pools = Pools(SIDE)
    found = distillation(student, teacher, pools, rows)
    chosen = [0, 3]
    expected = torch.zeros(())
    for level in range(2):
        learned = unit(pools[level](student.fused.levels[level][chosen]))
        expected = expected + (learned - unit(pools[level](teacher.fused.levels[level]))).square().mean()
    for learned, taught in ((student.fused.token, teacher.fused.token), (student.penultimate, teacher.penultimate)):
        expected = expected + (unit(learned[chosen]) - unit(taught)).square().mean()
    p, q = ((each / 2).softmax(1) for each in (teacher.logits, student.logits[chosen]))
    expected = expected + 4 * (p * (p / q).log()).mean()  # over classes, too, as the source takes the mean
    torch.testing.assert_close(found, expected)
    same = Output(teacher.logits, [], teacher.penultimate, teacher.attention, teacher.fused)
    assert float(distillation(same, teacher, pools, torch.tensor([True, True])).detach()) == pytest.approx(0, abs=1e-6)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher, pools = output(2, 0), output(2, 1), Pools(SIDE)
    distillation(student, teacher, pools, torch.tensor([True, True])).backward()
    for side, gets in ((student, True), (teacher, False)):
        for value in (side.logits, side.penultimate, side.fused.token, *side.fused.levels[:2]):
            assert (value.grad is not None) == gets
    network, batch = dis2(), batch_of(SIDE)
    terms_of(network, batch)["distillation"].backward()
    assert all(parameter.grad is None for parameter in network.full.parameters())
    assert all(parameter.grad.any() for parameter in network.pools.parameters() if parameter.grad is not None)
    assert any(parameter.grad is not None for parameter in network.compensators.parameters())


def test_the_divergence_is_zero_of_orthogonal_and_one_of_parallel_features() -> None:
    """Of pairs of an absent and a present modality; others do not count."""
    pairs = torch.tensor([[[False, False], [True, False]]])
    beside = torch.tensor([[[2.0, 0.0], [5.0, 5.0]]])
    for instead, expected in (([0.0, 3.0], 0.0), ([7.0, 0.0], 1.0), ([-7.0, 0.0], 1.0), ([1.0, 1.0], 0.5)):
        standing = torch.tensor([[[4.0, 4.0], instead]])
        assert float(divergence(standing, beside, pairs)) == pytest.approx(expected)


def test_the_teacher_is_listened_to_after_the_warm_up() -> None:
    assert [strength(progress) for progress in (0.0, WARM_UP - 1e-9, WARM_UP, 1.0)] == [0, 0, STRENGTH, STRENGTH]
    assert (STRENGTH, WARM_UP) == (5, 0.1)
    network, batch = dis2(), batch_of(SIDE)
    late = terms_of(network, batch)
    network.progress = 0.05
    early = terms_of(network, batch)
    assert early["distillation"] == 0
    assert late["distillation"] > 0
    assert all(torch.equal(early[name], late[name]) for name in TERMS if name != "distillation")


@pytest.mark.parametrize(
    ("m", "side", "message"),
    [
        (3, 1, "network=dis2: the windows are 1 × 1; build tables with --patch-size 2 or more"),
        (1, 8, "network=dis2: hsi is the only modality, so that nothing can stand in for it; use two or more, or netw"),
    ],
)
def test_what_cannot_be_is_refused(m: int, side: int, message: str) -> None:
    with pytest.raises(MamolError, match=re.escape(message)):
        made("dis2", m, side)


def test_the_page_says_how_large_it_is() -> None:
    page = (ROOT / "docs" / "NEIGHBOURS.md").read_text()
    sizes = [f"{sum(made('dis2', side=side).count_trainable().values()):,}" for side in (2, 4, 8, 16, 32)]
    said = "it has {} parameters at P = 2, {} at 4, {} at 8, {} at 16, {} at 32".format(*sizes)
    assert said in " ".join(page.split())
