"""The processes of one training on one machine: those that Lightning starts end with the first one, and it can end."""

import os
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Lightning takes seconds, in every process
    import pytorch_lightning as pl

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


def end_at_sigterm(trainer: "pl.Trainer") -> None:
    """Has SIGTERM end a training behind the batch at hand, with several processes as with one.

    In the handler of the signal, Lightning 2.6 tells the other processes through the connection that the gradients of
    the batch at hand are waiting for, and so waits for ever. Here the process hands the signal on and takes note of it;
    each ends where its batch does, or by ``keep_together``.

    Args:
        trainer: Before it begins.
    """
    connector, launcher = trainer._signal_connector, trainer.strategy.launcher

    def take_note(signum: int, _: FrameType) -> None:
        if launcher is not None and not connector.received_sigterm:
            launcher.kill(signum)
        connector.received_sigterm = True

    connector._sigterm_notifier_fn = take_note  # type: ignore[method-assign]


def _follow(first: int) -> None:
    while os.getppid() == first:
        time.sleep(SECONDS)
    os._exit(1)  # only the first one writes, so there is nothing to be put away
