"""The version of the program, as checkpoints and ``config.json`` name it."""

VERSION = "0.2.0"
