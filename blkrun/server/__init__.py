"""Everything that runs inside nbdkit: the live graph, its drivers, and the QMP server.

Knows nothing of TOML, of the user's file or of terminals; imports neither ``asyncio`` nor
``config``, ``reconcile``, ``cli`` or ``dashboard``.  A request's way down is::

    nbdkit ─▶ plugin.py ─▶ connection.py ─▶ Export.root ─▶ node ─▶ … ─▶ backend
              errno        slot, gate,      export.py      node.py, drivers/, throttle/
                           statistics

and an edit's way in::

    QMP client ─▶ qmp/ ─▶ staging.py: the graph as it will be ─▶ graph.py: commit, drain, grace
"""
