"""The QEMU Machine Protocol on a unix socket.

``framing``: bytes → JSON values ◀─ ``session``: one client's conversation ◀─ ``server``: the
socket and its threads.  ``commands/`` has what can be said, by subject; ``dispatch`` the table.
"""
