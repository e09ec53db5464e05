"""timm's vision transformers: plain ones, and those whose positions turn queries and keys.

Importing timm takes seconds, so only ``family`` is imported at once; it imports the rest where a tower is built.
"""

PREFIX = "timm:"
"""In front of timm's name of a model."""
