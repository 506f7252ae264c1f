"""What there is to show: pure functions from snapshots to rows, no clock and no I/O.

``snapshot``: a reply of the server, typed ◀─ ``rates``: two of them ◀─ ``tree``, ``groups``,
``jobs``, ``status``: rows of the panels.  ``record``: events, numbered and bounded; ``config``: the
file and its edits.
"""
