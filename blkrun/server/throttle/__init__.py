"""Throttling in three layers, each usable without the next.

``bucket``: arithmetic, time passed in ◀─ ``schedule``: whose turn it is, time passed in ◀─
``group``: the lock, the clock and the waiting.  The node is ``drivers/throttle.py``.
"""
