"""Kinds of labels: one class per sample or pixel, any number of classes, one of two classes ranked.

The names are those that tables say of themselves: ``classes`` (all scenes, Food-101), ``genres`` (any number of
classes per sample, MM-IMDb), ``binary`` (Hateful Memes) and ``segmentation`` (tiles of scenes).
"""

from mamol.tasks import binary, multi_label, segmentation, single_label

__all__ = ["binary", "multi_label", "segmentation", "single_label"]
