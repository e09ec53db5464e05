"""Backbone sizes come from open_clip's register."""

from dataclasses import replace

import open_clip
import pytest
import torch

from mamol.backbones.architectures import TINY, ClipSpec, clip_spec, supported_backbones
from mamol.backbones.openclip import build_clip, parameter_shapes
from mamol.core.errors import MamolError


@pytest.mark.parametrize("backbone", ["ViT-B-16-quickgelu", "ViT-B-32", "ViT-L-14", "ViT-g-14"])
def test_parameters_are_those_of_open_clip(backbone: str) -> None:
    config = open_clip.get_model_config(backbone)
    with torch.device("meta"):
        expected = open_clip.model.CLIP(**config).state_dict()
    expected.pop("logit_scale")
    assert parameter_shapes(clip_spec(backbone)) == {name: value.shape for name, value in expected.items()}


def test_vit_b_16_facts() -> None:
    visual, text = clip_spec("ViT-B-16-quickgelu").visual, clip_spec("ViT-B-16-quickgelu").text
    assert (visual.width, visual.layers, visual.heads, visual.grid, visual.output_dim) == (768, 12, 12, 14, 512)
    assert (text.width, text.layers, text.heads, text.context_length, text.vocab_size) == (512, 12, 8, 77, 49408)
    assert visual.quick_gelu
    assert text.quick_gelu
    assert clip_spec("ViT-B-16") == ClipSpec(replace(visual, quick_gelu=False), replace(text, quick_gelu=False))


def test_heads_of_wide_towers_follow_the_head_width() -> None:
    assert clip_spec("ViT-H-14").visual.heads == 16  # 1280 wide, 80 per head
    assert build_clip(TINY).visual.transformer.resblocks[0].attn.num_heads == 2


def test_every_listed_backbone_has_a_spec() -> None:
    names = supported_backbones()
    assert {"tiny", "ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336", "ViT-H-14"} <= set(names)
    for name in names:
        spec = clip_spec(name)
        assert spec.visual.width % spec.visual.heads == 0
        assert spec.visual.grid > 1


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ("RN50", "the layers of a ResNet"),
        ("EVA02-B-16", r"vision_cfg\.timm_model_name"),
        ("roberta-ViT-B-32", r"text_cfg\.hf_model_name"),
        ("ViT-H-14-CLIPA", r"vision_cfg\.no_ln_pre"),
        ("ViT-Z-99", "unknown"),
        ("hf-hub:someone/something", "unknown"),
    ],
)
def test_other_towers_are_refused_with_the_list_of_those_that_work(backbone: str, reason: str) -> None:
    with pytest.raises(MamolError, match=rf"backbone={backbone}: .*{reason}.*allowed: tiny, ViT-B-16, ") as caught:
        clip_spec(backbone)
    assert "\n" not in str(caught.value)


def test_two_activations_are_refused() -> None:
    with pytest.raises(MamolError, match="quick_gelu: the visual tower says True, the text tower False"):
        ClipSpec(TINY.visual, replace(TINY.text, quick_gelu=False))
