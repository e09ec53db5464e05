"""Kinds of labels: one class per sample, any number of classes, one of two classes ranked.

The names are those that tables say of themselves: ``classes`` (all scenes, Food-101), ``genres`` (any number of
classes per sample, MM-IMDb) and ``binary`` (Hateful Memes).
"""

from mamol.tasks import binary, multi_label, single_label

__all__ = ["binary", "multi_label", "single_label"]
