"""Builds Arrow tables from raw data: one command for every dataset.

    python make_arrow.py --dataset trento --root datasets/trento --out build/trento
    python make_arrow.py --dataset mmimdb --root datasets/mmimdb --out build/mmimdb

datasets/README.md says where the raw files come from, docs/DATASETS.md how to add a dataset.
"""

import sys

from mamol.commands.tables import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
