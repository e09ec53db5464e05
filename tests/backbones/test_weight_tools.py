"""Position embeddings on another grid; the fingerprint of frozen weights."""

from types import SimpleNamespace

import pytest
import torch
from open_clip.model import resize_pos_embed

from mamol.backbones.weights import interpolate_positions
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint


@pytest.mark.parametrize("grid", [1, 3, 7, 14])
def test_positions_are_interpolated_as_open_clip_does(grid: int) -> None:
    positional = torch.randn(1 + 7 * 7, 12, generator=torch.Generator().manual_seed(1))
    model = SimpleNamespace(visual=SimpleNamespace(grid_size=(grid, grid)))
    state = {"visual.positional_embedding": positional.clone()}
    resize_pos_embed(state, model)
    found = interpolate_positions(positional, grid)
    torch.testing.assert_close(found, state["visual.positional_embedding"], atol=1e-6, rtol=0)
    assert found.shape == (1 + grid * grid, 12)
    assert torch.equal(found[0], positional[0])
    if grid == 7:
        assert found is positional


@pytest.mark.parametrize(("rows", "grid"), [(49, 7), (50, 0)])
def test_impossible_grids_are_refused(rows: int, grid: int) -> None:
    with pytest.raises(MamolError, match=f"position embeddings: {rows} rows to a {grid} x {grid} grid; expected"):
        interpolate_positions(torch.zeros(rows, 4), grid)


def test_fingerprint_sees_names_types_shapes_and_values_but_not_order() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.0, dtype=torch.bfloat16)}
    reference = fingerprint(state)
    assert len(reference) == 64
    assert fingerprint(dict(reversed(state.items()))) == reference
    assert fingerprint(state | {"a": state["a"].T.contiguous().T}) == reference
    changed = [
        {"c": state["a"], "b": state["b"]},
        state | {"a": state["a"].reshape(3, 2)},
        state | {"b": state["b"].half()},
        state | {"a": state["a"] + 1e-6},
        {"a": state["a"]},
    ]
    assert len({reference, *map(fingerprint, changed)}) == 1 + len(changed)
