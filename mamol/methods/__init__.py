"""What is added to the frozen towers: MaMOL and the compared methods, each registered in its own file.

Lists show them in the order in which they are imported here.
"""

# ruff: noqa: I001
from mamol.methods import mamol
from mamol.methods import released
from mamol.methods import baseline
from mamol.methods import linear_probe
from mamol.methods import lora
from mamol.methods import lora_pattern
from mamol.methods import mmp
from mamol.methods import dcp
from mamol.methods import moe_rep
from mamol.methods import moe_ada
from mamol.methods import moe_task

__all__ = [
    "baseline",
    "dcp",
    "linear_probe",
    "lora",
    "lora_pattern",
    "mamol",
    "mmp",
    "moe_ada",
    "moe_rep",
    "moe_task",
    "released",
]
