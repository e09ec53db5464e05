"""This program's numbers beside those that the released code computed: ``python -m mamol.parity FILE``."""
