"""MaMOL: missing-aware mixture of LoRAs for classification with missing sensors (arXiv 2511.11460)."""

__version__ = "0.1.0"
