"""Desired against live, and the runner that keeps them equal.

``live``: what a server reports → GraphModel ◀─ ``plan``: desired, live → operations (pure) ◀─
``apply``: operations → one transaction ◀─ ``runner``: file, server and signals in one loop, with
``watch`` (the file has changed and settled) and ``nbdkit`` (the server process).
"""
