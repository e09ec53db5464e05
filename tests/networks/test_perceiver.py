"""The Perceiver's own: which tokens the latents read, and where a pixel lies."""

import torch
from torch.nn import functional

from mamol.networks.perceiver import HEADS, Perceiver, Reading, positions
from tests.networks.test_own import batch_of, made
from tests.pages import ROOT
from tests.toys import GRID


def test_absent_modalities_are_not_there() -> None:
    """What a network of three says without the third is what a network of the first two says."""
    network, batch = made("perceiver"), batch_of()
    batch["available"][:, :2], batch["available"][:, 2] = True, False
    smaller = made("perceiver", m=2, seed=1)
    state = {name: value for name, value in network.trainable_state().items() if name in smaller.trainable_state()}
    state["modality.weight"] = state["modality.weight"][:2]
    smaller.load_trainable_state(state)
    torch.testing.assert_close(
        network(batch)[0], smaller({**batch, "available": batch["available"][:, :2]})[0], rtol=1e-4, atol=1e-5
    )


def test_the_latents_read_the_seen_tokens_alone() -> None:
    """The plain form, sample by sample: an array of the seen tokens, each of bands, position and modality."""
    network, batch = made("perceiver"), batch_of()
    assert isinstance(network, Perceiver)
    batch["hsi"][0, 2, 1] = torch.nan
    logits = network(batch)[0]
    where = network.position(positions(GRID))
    for n in range(len(logits)):
        tokens, at, pixels = [], [], torch.zeros(GRID**2, where.shape[1])
        for i, name in enumerate(("hsi", "lidar", "sar")):
            window = batch[name][n].flatten(1).T
            for pixel in range(GRID**2 if batch["available"][n, i] else 0):
                if not window[pixel].isnan().any():
                    tokens.append(network.tokens[i](window[pixel]) + network.modality.weight[i])
                    at.append(pixel)
        for pixel in range(GRID**2):
            own = [token for token, place in zip(tokens, at, strict=True) if place == pixel]
            pixels[pixel] = torch.stack(own).mean(0) if own else 0
        latents = network.latents.weight[None]
        latents = network.enter(latents, (torch.stack(tokens) + where[at])[None])
        for block in network.blocks:
            latents = block(latents)
        plain = network.head(network.leave((pixels + where)[None], latents))
        torch.testing.assert_close(logits[n].flatten(0, 1), plain[0], rtol=1e-3, atol=1e-4)


def test_a_reading_is_attention_and_a_feed_forward_part() -> None:
    """Against torch's own attention."""
    reading, query, context = Reading(crosses=True), torch.randn(2, 3, 128), torch.randn(2, 5, 128)
    mask = torch.tensor([[True, True, False, True, False], [False, True, True, True, True]])
    asks, read = reading.norm_query(query), functional.layer_norm(context, (128,))
    mixed, _ = reading.attention(asks, read, read, key_padding_mask=~mask)
    x = query + mixed
    torch.testing.assert_close(
        reading(query, context, mask), x + reading.mlp(reading.norm_mlp(x)), rtol=1e-4, atol=1e-5
    )
    assert reading.attention.num_heads == HEADS


def test_every_pixel_lies_somewhere_else() -> None:
    for side in (1, 2, 5, 16):
        places = positions(side)
        assert len(torch.unique(places, dim=0)) == side**2
    assert positions(5)[7, :2].tolist() == [-0.5, 0.0]


def test_the_page_says_how_large_it_is() -> None:
    sizes = {sum(made("perceiver", side=side).count_trainable().values()) for side in (4, 16)}
    assert len(sizes) == 1
    assert f"it has {sizes.pop():,} parameters, whatever the window" in (ROOT / "docs" / "NEIGHBOURS.md").read_text()
