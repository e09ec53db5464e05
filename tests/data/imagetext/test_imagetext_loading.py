"""Batches of images and texts: those of open_clip, on any number of workers."""

import contextlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from mamol.core.errors import MamolError
from mamol.data.imagetext import loading
from mamol.data.imagetext.images import decode
from mamol.data.imagetext.loading import ImageTextDataset
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.imagetext.tokens import length_of, tokens_of
from tests.data.imagetext.trees import draw

Build = Callable[..., Path]
BOTH = ("image", "text")
SIZE = 32
TRANSFORM = open_clip.image_transform(SIZE, is_train=False, resize_mode="shortest", interpolation="bicubic")


def picture(mode: str, width: int = 60, height: int = 40) -> Image.Image:
    image = draw([0, 1, 2, 3], 48, np.random.default_rng(0)).resize((width, height))
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        return image
    return image.quantize(16) if mode == "P" else image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def whole(table: ImageTextTable, available: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(table)), np.ones((len(table), 2), bool) if available is None else available


def test_images_are_those_of_open_clips_transform(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb") / "train.arrow")
    images = ImageTextDataset(table, BOTH, SIZE)[whole(table)]["image"]
    assert images.dtype == torch.float32
    assert images.shape == (12, 3, SIZE, SIZE)
    for i in range(12):
        assert torch.equal(images[i], TRANSFORM(Image.open(io.BytesIO(table.image(i)))))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("RGB", "PNG"), ("CMYK", "JPEG"), ("RGBA", "PNG")],
)
def test_every_mode_becomes_rgb_first(mode: str, kind: str) -> None:
    content = saved(picture(mode), kind)
    original = Image.open(io.BytesIO(content))
    assert original.mode == mode
    decoded = decode(content)
    assert decoded.tobytes() == original.convert("RGB").tobytes()
    if mode in ("RGB", "L"):  # open_clip resizes in the mode of the file; here that is the same
        assert torch.equal(TRANSFORM(decoded), TRANSFORM(original))


def test_palette_colours_are_looked_up_before_resizing() -> None:
    image = picture("P")
    decoded = decode(saved(image, "PNG"))
    assert decoded.tobytes() == image.convert("RGB").tobytes()
    assert torch.equal(TRANSFORM(decoded), TRANSFORM(image.convert("RGB")))
    assert not torch.equal(TRANSFORM(decoded), TRANSFORM(image))


@pytest.mark.filterwarnings("error")
def test_transparency_is_left_out_without_blending() -> None:
    image = picture("P")
    content = saved(image, "PNG", transparency=bytes([0, 128, 255]))
    assert decode(content).tobytes() == image.convert("RGB").tobytes()


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [picture("P"), picture("P").rotate(90)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content).tobytes() == frames[0].convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_whatever_is_cut_off_is_refused(kind: str) -> None:
    content = saved(picture("RGB"), kind)
    for length in (0, 1, 10, 100, len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(ValueError, match=r"."):
            decode(content[:length])


@pytest.mark.filterwarnings("ignore")
@given(kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_give_a_picture_or_the_one_refusal(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = np.frombuffer(saved(picture("RGB"), kind), np.uint8).copy()
    content[rng.integers(0, len(content), 5)] = rng.integers(0, 256, 5)
    with contextlib.suppress(ValueError):
        assert decode(content.tobytes()).mode == "RGB"


def test_pictures_that_are_far_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="decompression bomb"):
        decode(saved(picture("RGB"), "PNG"))


def test_tokens_are_those_of_open_clips_tokenizer(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb", plots="all") / "train.arrow")
    text = ImageTextDataset(table, BOTH, SIZE)[whole(table)]["text"]
    assert text.dtype == torch.int64
    expected = open_clip.get_tokenizer("ViT-B-16")([table.text(i) for i in range(len(table))])
    assert torch.equal(text, expected)


def test_long_texts_are_cut_and_keep_their_end_token() -> None:
    tokens = tokens_of(["word " * 200, "word " * 75, "word " * 76, ""])
    assert tokens.shape == (4, 77)
    start, end = 49406, 49407
    assert (tokens[:, 0] == start).all()
    assert (tokens[:3, 76] == end).all()
    assert tokens[3].tolist() == [start, end, *[0] * 75]
    assert [length_of("word " * n) for n in (0, 75, 76)] == [2, 77, 78]


@pytest.mark.parametrize(
    ("dataset", "dtype", "shape"),
    [("mmimdb", torch.float32, (5, 23)), ("food101", torch.int64, (5,)), ("hateful_memes", torch.int64, (5,))],
)
def test_a_batch_is_as_promised(dataset: str, dtype: torch.dtype, shape: tuple[int, ...], build: Build) -> None:
    table = ImageTextTable.open(build(dataset) / "test.arrow")
    index, available = np.array([3, 0, 4, 1, 2]), np.array([[1, 1], [0, 1], [1, 0], [0, 1], [1, 1]], bool)
    dataset_of = ImageTextDataset(table, BOTH, SIZE)
    batch = dataset_of[index, available]
    assert set(batch) == {"image", "text", "available", "label", "index"}
    assert (batch["label"].dtype, tuple(batch["label"].shape)) == (dtype, shape)
    assert batch["label"].tolist() == table.label[index].tolist()
    assert batch["index"].tolist() == index.tolist()
    assert batch["available"].tolist() == available.tolist()
    full = dataset_of[whole(table)]
    assert torch.equal(batch["image"][available[:, 0]], full["image"][index[available[:, 0]]])
    assert (batch["image"][~available[:, 0]] == 0).all()
    assert torch.equal(batch["text"][available[:, 1]], full["text"][index[available[:, 1]]])
    assert torch.equal(batch["text"][2], tokens_of([""])[0])
    assert len(dataset_of) == 5


def test_modalities_may_be_one_or_in_another_order(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb") / "test.arrow")
    only = ImageTextDataset(table, ["text"], SIZE)[np.arange(2), np.array([[True], [False]])]
    assert set(only) == {"text", "available", "label", "index"}
    turned = ImageTextDataset(table, ["text", "image"], SIZE)[np.arange(2), np.array([[1, 0], [0, 1]], bool)]
    assert [bool(image.any()) for image in turned["image"]] == [False, True]
    assert torch.equal(turned["text"], only["text"])


def test_absent_images_are_not_decoded(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb") / "test.arrow")
    available = np.ones((5, 2), bool)
    available[1:, 0] = False
    with mock.patch.object(loading, "decode", wraps=decode) as spy:
        ImageTextDataset(table, BOTH, SIZE)[whole(table, available)]
    assert spy.call_count == 1


def test_a_complete_pass_has_what_is_absent_too(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb") / "test.arrow")
    available = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]], bool)
    full = ImageTextDataset(table, BOTH, SIZE)[whole(table)]
    complete = ImageTextDataset(table, BOTH, SIZE, complete=True)[whole(table, available)]
    assert torch.equal(complete["image"], full["image"])
    assert torch.equal(complete["text"], full["text"])
    assert complete["available"].tolist() == available.tolist()


def test_a_corrupt_image_is_told_with_table_and_id(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ImageTextTable.open(build("mmimdb") / "test.arrow")
    content = table.image(2)
    monkeypatch.setattr(table, "image", lambda index: content[: len(content) // 2])
    with pytest.raises(
        MamolError, match=rf"test\.arrow: the image of {table.name(2)} cannot be decoded \(.*[Tt]runcated"
    ):
        ImageTextDataset(table, BOTH, SIZE)[np.array([2]), np.ones((1, 2), bool)]


def test_a_corrupt_image_in_a_loading_process_is_told_in_one_line(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageTextTable, "image", lambda table, index: b"no picture")
    dataset = ImageTextDataset(ImageTextTable.open(build("mmimdb") / "test.arrow"), BOTH, SIZE)
    loader = DataLoader(dataset, sampler=[(np.array([2]), np.ones((1, 2), bool))], batch_size=None, num_workers=1)
    with pytest.raises(MamolError, match="cannot be decoded") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


def test_workers_give_the_same_batches(build: Build) -> None:
    table = ImageTextTable.open(build("mmimdb") / "train.arrow")
    available = np.random.default_rng(0).random((12, 2)) < 0.6
    batches = [(np.arange(start, start + 4), available[start : start + 4]) for start in (0, 4, 8)]

    def served(workers: int) -> list[dict[str, torch.Tensor]]:
        dataset = pickle.loads(pickle.dumps(ImageTextDataset(table, BOTH, SIZE)))  # as where workers are spawned
        return list(DataLoader(dataset, sampler=batches, batch_size=None, num_workers=workers))

    for alone, shared in zip(served(0), served(2), strict=True):
        assert alone.keys() == shared.keys()
        assert all(torch.equal(alone[name], shared[name]) for name in alone)
