"""Images and texts in one network: CLIP's own features, and the invariants of all methods on both towers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mamol.core.backbone import BACKBONES, RANDOM, Backbone, BackboneRequest
from mamol.core.errors import MamolError
from mamol.core.method import METHODS
from mamol.network.encoder import encode
from mamol.network.network import Network
from tests.image_text import OUT, SPEC, batch_of, network_of, small_clip, towers
from tests.invariants import assert_neighbours_do_not_matter, features_of, gradients
from tests.toys import shake, tiny_tower

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((method, {"prompt_length": 6}) for method in METHODS),
    ("mamol", {"balance_weight": 0.1, "expert_blocks": "last2", "experts_dynamic": 3}),
    ("mmp", {"prompt_length": 4, "prompt_type": "attention"}),
    ("moe_task", {"moe_task_form": "moelora"}),
    ("released", {"rank": 16, "experts_dynamic": 4, "top_k": 2, "expert_blocks": "last2", "train_end": True}),
]
every_variant = pytest.mark.parametrize(("method", "options"), VARIANTS)


def text_tower(name: str, weights: str, **wanted: Any) -> Backbone:
    return BACKBONES["clip"].text(BackboneRequest(name, weights, **wanted))


def made(method: str, options: dict[str, Any]) -> Network:
    network = network_of(method, **options)
    shake(network)
    return network.eval()


def test_features_are_clips_own_side_by_side_and_zero_where_absent() -> None:
    model, batch, network = small_clip(), batch_of(), network_of("baseline")
    expected = torch.stack([model.encode_image(batch["image"]), model.encode_text(batch["text"])], 1)
    expected = expected * batch["available"][..., None]
    torch.testing.assert_close(features_of(network, batch), expected, atol=2e-5, rtol=1e-5)


def test_the_text_tower_with_all_tokens_is_open_clips() -> None:
    batch, (_, tower) = batch_of(), towers()
    batch["available"][:] = True
    network = network_of("baseline")
    known = network.streams(batch)["text"]
    assert known.token_mask is not None
    tokens = tower.embed(batch["text"])[:, : known.token_mask.shape[1]]
    features = [encode(tower, tokens, network.method, known, shortcut=s).features for s in (True, False)]
    torch.testing.assert_close(features[0], features[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features[0], small_clip().encode_text(batch["text"]), atol=1e-5, rtol=1e-5)


def test_only_present_streams_and_no_token_behind_the_longest_text_are_encoded() -> None:
    batch = batch_of()
    network = network_of()
    known = network.streams(batch)
    assert {name: len(each.available) for name, each in known.items()} == {"visual": 4, "text": 4}
    ends = network.embedding[1].ends(batch["text"][batch["available"][:, 1]])
    assert known["text"].token_mask.shape == (4, int(ends.max()) + 1)
    assert known["text"].token_mask.sum(1).tolist() == (ends + 1).tolist()
    assert known["text"].modality.tolist() == [1] * 4


@every_variant
def test_every_trainable_parameter_gets_a_gradient_and_no_tower_does(method: str, options: dict[str, Any]) -> None:
    network, batch = made(method, options).train(), batch_of()
    trainable = {n for n, p in network.named_parameters() if p.requires_grad}
    assert not any(n.startswith("towers.") for n in trainable)
    assert gradients(network, batch).keys() == trainable
    for i in range(2):
        batch["available"][:] = False
        batch["available"][:, i] = True  # no stream at all in the other tower, as a rank may get
        assert gradients(network, batch).keys() == trainable
        assert features_of(network, batch)[:, 1 - i].abs().max() == 0


@every_variant
def test_content_of_absent_modalities_changes_nothing(method: str, options: dict[str, Any]) -> None:
    network, batch = made(method, options), batch_of()
    expected = network(batch)[0]
    batch["image"][~batch["available"][:, 0]] = float("nan")
    batch["text"][~batch["available"][:, 1]] = 3
    assert torch.equal(network(batch)[0], expected)


@every_variant
def test_a_sample_does_not_depend_on_its_neighbours(method: str, options: dict[str, Any]) -> None:
    assert_neighbours_do_not_matter(made(method, options), batch_of())


@every_variant
def test_shortcut_and_words_behind_the_end_change_nothing(method: str, options: dict[str, Any]) -> None:
    network, batch = made(method, options), batch_of()
    tokens = torch.randn(6, 5, network.towers["text"].width)
    known = network.streams({**batch, "available": torch.ones(6, 2, dtype=torch.bool)})["text"]
    ends = torch.arange(6) % 5
    known = replace(known, end=ends, token_mask=torch.arange(5) <= ends[:, None])
    tower = network.towers["text"]
    short, full = (encode(tower, tokens, network.method, known, shortcut=s).features for s in (True, False))
    torch.testing.assert_close(short, full, atol=1e-5, rtol=1e-5)
    tokens[0, 1:] = 7.0
    other = encode(tower, tokens, network.method, known).features
    torch.testing.assert_close(other[0], short[0], atol=1e-5, rtol=1e-5)


@every_variant
def test_the_missing_pattern_matters_to_what_the_other_modality_becomes(method: str, options: dict[str, Any]) -> None:
    network, batch = made(method, options), batch_of()
    batch["available"][:] = True
    complete = network.features(batch)[0]["image"]
    batch["available"][:, 1] = False
    alone = network.features(batch)[0]["image"]
    blind = {"baseline", "linear_probe", "lora", "moe_rep", "moe_ada"}
    assert torch.equal(complete, alone) == (method in blind)


@pytest.mark.parametrize("name", ["image", "text"])
def test_a_network_of_one_modality_is_that_part_of_the_other(name: str) -> None:
    batch = batch_of()
    batch["available"][:] = True
    both, _ = network_of("baseline").features(batch)
    one, _ = network_of("baseline", (name,)).features({**batch, "available": batch["available"][:, :1]})
    assert list(one) == [name]
    torch.testing.assert_close(one[name], both[name], atol=1e-6, rtol=0)


def test_the_order_of_the_modalities_does_not_change_the_features() -> None:
    batch = batch_of()
    swapped = {**batch, "available": batch["available"][:, [1, 0]]}
    one, other = network_of("baseline"), network_of("baseline", ("text", "image"))
    features, again = features_of(one, batch), features_of(other, swapped)
    assert features.shape == (6, 2, OUT)
    assert torch.equal(features, again)


def test_one_sequence_of_images_and_texts_is_refused() -> None:
    spec = network_of().spec
    images, texts = towers()
    with pytest.raises(MamolError, match="fusion=single_stream is for windows: image and text go through CLIP's own"):
        Network(replace(spec, fusion="single_stream"), {"visual": images, "text": texts})


def test_trained_parts_are_stored_without_the_towers() -> None:
    state = network_of("dcp", prompt_length=6).trainable_state()
    assert {name.split(".")[0] for name in state} == {"method", "head"}
    assert sum(value.numel() for value in state.values()) < 200_000


def test_the_tiny_text_tower_is_the_same_each_time_and_frozen() -> None:
    first, second = (text_tower("tiny", RANDOM) for _ in range(2))
    assert first.fingerprint == second.fingerprint != text_tower("tiny", RANDOM, seed=1).fingerprint
    assert first.output_dim == tiny_tower(2).output_dim
    assert not any(p.requires_grad for p in first.parameters())
    assert not first.train().training


def test_text_weights_come_from_the_file_of_the_whole_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("mamol.backbones.clip.clip_spec", "mamol.backbones.weights.clip_spec"):
        monkeypatch.setattr(place, lambda backbone: SPEC)
    model = small_clip()
    torch.save(model.state_dict(), whole := tmp_path / "whole.pt")
    tower, (_, expected) = text_tower("small", str(whole)), towers(model)
    assert tower.fingerprint == expected.fingerprint
    assert str(whole) in tower.origin.source
    visual = {name: value for name, value in model.state_dict().items() if name.startswith("visual.")}
    torch.save(visual, half := tmp_path / "half.pt")
    with pytest.raises(MamolError, match="holds a visual tower alone; texts need the whole CLIP"):
        text_tower("small", str(half))
    exact = text_tower("small", str(whole), activation="gelu")
    assert exact.fingerprint == expected.fingerprint
    assert type(exact.blocks[0].feed_forward.gelu) is not type(tower.blocks[0].feed_forward.gelu)
