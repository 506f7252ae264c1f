"""What there is to show: pure functions from snapshots to rows, no clock and no I/O.

``snapshot``: a reply of the server, typed ◀─ ``rates``: two of them ◀─ ``tree``, ``groups``,
``jobs``, ``status``: rows of the panels.  ``marks``: what waits to change, and drift; ``state``:
a node's, in a word; ``inspect``: all about one; ``copying``: it as text.  ``record``: events,
numbered and bounded; ``config``: the file and its edits.
"""
