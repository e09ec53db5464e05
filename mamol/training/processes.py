"""The processes of one training on one machine: those that Lightning starts end with the first one."""

import os
import threading
import time

FIRST = "MAMOL_FIRST_PROCESS"
"""Environment variable with the number of the process that starts the others."""
ELASTIC = "TORCHELASTIC_RUN_ID"
"""torchrun's; it looks after its processes itself."""
SECONDS = 1.0


def keep_together() -> None:
    """Has the others end where the first one is gone.

    To be called in each of them before they meet. One that waits for the first to answer would wait for half an hour
    where that was killed; what it holds, such as a terminal, would wait with it.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.environ[FIRST] = str(os.getpid())
    elif FIRST in os.environ and ELASTIC not in os.environ:
        threading.Thread(target=_follow, args=(int(os.environ[FIRST]),), daemon=True).start()


def _follow(first: int) -> None:
    while os.getppid() == first:
        time.sleep(SECONDS)
    os._exit(1)  # only the first one writes, so there is nothing to be put away
