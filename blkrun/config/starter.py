"""The file that somebody begins with: small, right, and with words for what is next.  Pure."""

from blkrun.config.steps import value_of

NEW_DISK = (
    ("size", '"10GiB"', "sparse: it takes what is written"),
    ("create", "true", "made when it is missing"),
)

_TEXT = """\
# One disk, served over NBD.  Start it with
#
#     blkrun run {name}
#
# then change something below while clients use the disk, and save: nobody has to reconnect.

# Limits that everybody shares who names this group.  Take a # away, or say
# blkrun limit {name} limits iops-total=500
[throttle-groups.limits]
# iops-total            = 500      # requests per second, reads and writes together
# iops-total-max        = 2000     # ... a burst may reach this,
# iops-total-max-length = "5s"     # ... for so long
# bps-read              = "50MiB"  # bytes per second
# bps-write             = "20MiB"

# A backend is where the bytes are.
[backends.disk]
{backend}

# A node stands over another one.  blkrun drivers lists what there is.
{image}[nodes.limit]
driver         = "throttle"
throttle-group = "limits"
file           = {below:<7}           # the node below
enabled        = true              # false takes it out, and puts it back

# An export is what a client opens, here
# nbd+unix:///disk?socket={stem}.sock
[exports.disk]
{export}
"""


_QCOW2 = """\
[nodes.image]
driver = "qcow2"                   # the disk that is in the image, over what the image names
file   = "disk"

"""


def starter(  # noqa: PLR0913 - by name, as they are written
    name: str,
    path: str,
    *,
    about: str = "",
    new: bool,
    writable: bool = True,
    image_format: str = "raw",
) -> str:
    """The text of a file ``name`` for the image at ``path``; ``about`` is a comment beside it."""
    where = "relative to this file" + (f"; {about}" if about else "")
    rows = [("driver", '"file"', ""), ("path", value_of(path).text, where)]
    rows += NEW_DISK if new else ()
    rows += () if writable else (("read-only", "true", "nobody here may write the image"),)
    export = [("node", '"limit"', "")]
    export += () if writable else (("read-only", "true", "so clients may not either"),)
    stem = name.removesuffix(".toml")
    is_qcow2 = image_format == "qcow2"
    return _TEXT.format(
        name=name,
        stem=stem,
        backend=_aligned(rows),
        image=_QCOW2 if is_qcow2 else "",
        below='"image"' if is_qcow2 else '"disk"',
        export=_aligned(export),
    )


def _aligned(rows: list[tuple[str, str, str]]) -> str:
    """Equals signs in line, comments too."""
    key_width = max(len(key) for key, _, _ in rows)
    width = max(len(value) for _, value, _ in rows)
    lines = (
        f"{key:<{key_width}} = {value:<{width}}" + (f"  # {words}" if words else "")
        for key, value, words in rows
    )
    return "\n".join(line.rstrip() for line in lines)
