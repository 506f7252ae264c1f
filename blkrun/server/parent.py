"""Outlive the process that started nbdkit.

nbdkit calls ``prctl(PR_SET_PDEATHSIG, SIGTERM)`` whether or not ``--exit-with-parent`` was given
(server/main.c, seen in 1.32.5): the kernel then ends the server when the runner dies.  blkrun's
runner may die at any time without a client noticing, so the plugin takes that back.
"""

import ctypes
import os

_PR_SET_PDEATHSIG = 1


def outlive_parent() -> None:
    """Not to be ended with the parent.  On the main thread: that is where nbdkit set it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
