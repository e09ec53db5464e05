"""The options and named configs of the command line: ``python run.py print_config`` lists them.

Defaults and what each option may be stand in ``mamol/core/settings.py``, named configs in ``mamol/commands/config.py``.
"""

from mamol.commands.config import ex

__all__ = ["ex"]
