"""Streams in, logits out: embeddings, frozen towers, method and head put together.

Importing it registers everything that the program brings itself.
"""

from mamol import backbones, embeddings, heads, methods, networks, tasks
from mamol.network import network

__all__ = ["backbones", "embeddings", "heads", "methods", "network", "networks", "tasks"]
