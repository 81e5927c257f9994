"""A server that ends when the launcher that started it ends, however that came about.

The launcher holds the other end of the child's standard input. When it closes it, is killed or crashes, the child
reads the end of its input and interrupts itself, on every operating system alike: so no second daemon is ever left
at work behind a new one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_PATIENCE_S = 15.0


def end_with_parent() -> None:
    """Interrupt this process as Ctrl+C would, as soon as its standard input ends; end it hard if that does not help."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while sys.stdin.buffer.read(1):
        pass
    _interrupt()
    time.sleep(_PATIENCE_S)
    os._exit(1)


def _interrupt() -> None:
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:  # os.kill would end the process at once on Windows
        signal.raise_signal(signal.SIGINT)
