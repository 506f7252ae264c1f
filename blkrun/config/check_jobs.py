"""Checks on jobs: names, options that go together (QEMU's words, §6.3 and §8.6), and targets.

A job that is switched off is checked by itself only; what it would do to others is looked at when
it is switched on.
"""

from collections.abc import Iterator

from blkrun.config.check_options import first_read_only, read_only
from blkrun.config.graph import by_name, over_all, parents, skip_disabled, tree
from blkrun.config.names import JOB_RULE, RULE, is_job_name, is_name
from blkrun.config.tables import Draft, ExportTable, JobTable, NodeTable
from blkrun.decode import Kind, Path, Problem
from blkrun.job_options import BackupOptions, CommitOptions, MirrorOptions, StreamOptions
from blkrun.options import EDGES
from blkrun.toml.diagnostics import dotted

MIN_GRANULARITY_BYTES = 512
MAX_GRANULARITY_BYTES = 64 * 2**20

_WITH_BITMAP = ("bitmap", "incremental")


def job_names(draft: Draft) -> Iterator[Problem]:
    """QEMU's syntax for a job's id."""
    for job in draft.jobs:
        if not is_job_name(job.name):
            message = f'Invalid job ID "{job.name}": {JOB_RULE}'
            yield Problem(path=job.path, kind=Kind.OTHER, message=message)


def filter_names(draft: Draft) -> Iterator[Problem]:
    """A job's filter is a node: its name is a node's, and nobody else's."""
    nodes = by_name(draft)
    made = {export.throttle_node: export for export in draft.exports if export.throttled}
    first: dict[str, JobTable] = {}
    for job in draft.jobs:
        name = job.filter_node
        other = nodes.get(name) or made.get(name) or first.setdefault(name, job)
        if is_job_name(job.name) and not is_name(name):
            yield _bad_filter(job, f'"{name}" cannot be a name: {RULE}')
        elif other is not job:
            yield _bad_filter(job, f'cannot be "{name}": that name is taken', other.path)


def _bad_filter(job: JobTable, words: str, related: Path | None = None) -> Problem:
    written = "filter-node-name" in job.raw
    remedy = "choose another" if written else "name the job otherwise, or set filter-node-name"
    return Problem(
        path=(*job.path, "filter-node-name") if written else job.path,
        kind=Kind.VALUE if written else Kind.OTHER,
        message=f"the filter node of {dotted(job.path)} {words}; {remedy}",
        related=related,
    )


def granularities(draft: Draft) -> Iterator[Problem]:
    """What a mirror's bitmap can have."""
    for job in draft.jobs:
        if not isinstance(job.options, MirrorOptions):
            continue
        size = job.options.granularity
        if not MIN_GRANULARITY_BYTES <= size <= MAX_GRANULARITY_BYTES:
            rule = "a value in range [512B, 64MB]"
        elif size & (size - 1):
            below = 1 << (size.bit_length() - 1)
            rule = f"a power of 2: {below} or {2 * below} is near"
        else:
            continue
        path = (*job.path, "granularity")
        message = f"{dotted(path)}: Parameter 'granularity' expects {rule}"
        yield Problem(path=path, kind=Kind.VALUE, message=message)


def bitmaps(draft: Draft) -> Iterator[Problem]:
    """Which sync goes with a bitmap, and with which mode of it; the first rule that is broken."""
    for job in draft.jobs:
        broken = _bitmap_rule(job.options) if isinstance(job.options, BackupOptions) else None
        if broken is not None:
            key, words = broken
            path = (*job.path, key)
            message = f"{dotted(path)}: {words}"
            yield Problem(path=path, kind=Kind.VALUE, message=message)


def _bitmap_rule(options: BackupOptions) -> tuple[str, str] | None:
    """The key to blame and QEMU's words, with the remedy where they do not have it."""
    if options.bitmap is None:
        return _without_bitmap(options)
    if options.sync == "incremental":
        if options.bitmap_mode in (None, "on-success"):
            return None
        words = "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'"
        return "bitmap-mode", f'{words}; sync = "bitmap" takes any'
    return _with_bitmap(options)


def _without_bitmap(options: BackupOptions) -> tuple[str, str] | None:
    if options.sync in _WITH_BITMAP:
        return (
            "sync",
            f"must provide a valid bitmap name for '{options.sync}' sync mode: set bitmap",
        )
    if options.bitmap_mode is None:
        return None
    words = "Cannot specify bitmap sync mode without a bitmap: set bitmap, or remove this"
    return "bitmap-mode", words


def _with_bitmap(options: BackupOptions) -> tuple[str, str] | None:
    if options.bitmap_mode is None:
        words = "Bitmap sync mode must be given when providing a bitmap: set bitmap-mode"
        return "bitmap", words
    if options.sync == "none":
        return "bitmap", "sync mode 'none' does not produce meaningful bitmap outputs: remove this"
    if options.bitmap_mode == "never" and options.sync != "bitmap":
        words = "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode"
        return "bitmap-mode", f"{words} '{options.sync}'"
    return None


def copied_onto_itself(draft: Draft) -> Iterator[Problem]:
    """Device and target are two disks, neither of which is a part of the other."""
    nodes = by_name(draft)
    for job, device, target in _at_work(draft, nodes):
        mirror = job.type is MirrorOptions
        if device == target:
            words = (
                "Can't mirror node into itself"
                if mirror
                else "Source and target cannot be the same"
            )
            yield _of_target(job, f'{words}: both are "{device}"', (*job.path, "device"))
        elif device in tree(target, nodes):
            words = f'the device "{device}" is under "{target}", and would be copied onto itself'
            yield _of_target(job, words, (*job.path, "device"))
        elif target in tree(device, nodes):
            words = f'"{target}" is under the device "{device}", and would be copied onto itself'
            yield _of_target(job, words, (*job.path, "device"))


def taken_twice(draft: Draft) -> Iterator[Problem]:
    """A job has its device and its target to itself."""
    nodes = by_name(draft)
    devices: dict[str, JobTable] = {}
    targets: dict[str, JobTable] = {}
    for job, device, target in _at_work(draft, nodes):
        if (other := devices.get(device) or targets.get(device)) is not None:
            yield _busy(job, "device", device, other)
        if (other := devices.get(target) or targets.get(target)) is not None:
            yield _busy(job, "target", target, other)
        devices.setdefault(device, job)
        targets.setdefault(target, job)


def chains(draft: Draft) -> Iterator[Problem]:
    """Streams and commits work on a chain that nobody else works on, from the device down."""
    nodes = by_name(draft)
    others = [
        (job, skip_disabled(name, nodes))
        for job in draft.jobs
        if job.enabled
        for _, name in job.nodes()
    ]
    for job in draft.jobs:
        ends = {key: skip_disabled(name, nodes) for key, name in job.nodes()}
        if job.type not in (StreamOptions, CommitOptions) or ends.get("device") not in nodes:
            continue
        yield from _chain_ends(job, ends, nodes)
        for other, name in others if job.enabled else ():
            if other is not job and name == ends["device"]:
                yield _busy(job, "device", name, other)
                break


def _chain_ends(
    job: JobTable, ends: dict[str, str], nodes: dict[str, NodeTable]
) -> Iterator[Problem]:
    if {"base-node", "bottom"} <= ends.keys():
        path = (*job.path, "bottom")
        words = "'bottom' and 'base-node' cannot be specified at the same time: remove one of them"
        yield Problem(path=path, kind=Kind.OTHER, message=f"{dotted(path)}: {words}")
        return
    images = _images(ends["device"], nodes)
    if images is None or not job.enabled:  # what it was over may be gone by now
        return
    is_commit = job.type is CommitOptions
    for key in ("base-node", "bottom", "top-node"):
        name = ends.get(key)
        if name in nodes and name not in images[key != "top-node" :]:
            words = f"Node '{name}' is not a backing image of '{ends['device']}'"
            if is_commit:
                words = f"'{name}' is not in this backing file chain"
            yield _at(job, key, words)
            return
    if is_commit:
        yield from _commit_ends(job, ends, nodes, images)


def _commit_ends(
    job: JobTable, ends: dict[str, str], nodes: dict[str, NodeTable], images: list[str]
) -> Iterator[Problem]:
    base, top = ends.get("base-node", images[-1]), ends.get("top-node", images[0])
    if base not in images or top not in images:
        return
    if images.index(base) <= images.index(top):
        yield _at(job, "device", "cannot commit an image into itself")
    elif top != images[0] and "when-ready" in job.raw:
        yield _at(job, "when-ready", "only a commit of the device itself gets ready: remove this")
    elif read_only(nodes[base]):
        words = f"the job writes to '{base}', but {dotted(nodes[base].path)} is read-only"
        yield _at(job, "base-node" if "base-node" in ends else "device", words)


def _at(job: JobTable, key: str, words: str) -> Problem:
    path = (*job.path, key)
    return Problem(path=path, kind=Kind.REFERENCE, message=f"{dotted(path)}: {words}")


def _images(top: str, nodes: dict[str, NodeTable]) -> list[str] | None:
    """The chain from a node down, without filters; None where only opening tells all of it."""
    found, name = [], top
    for _ in nodes:
        node = nodes.get(skip_disabled(name, nodes))
        if node is None or node.driver is None:
            return None
        if node.driver.is_filter:
            name = node.text("file") or ""
            continue
        found.append(node.name)
        if "backing" not in EDGES[node.driver]:
            return found
        below = node.text("backing")
        if below is None:
            return None
        if not below:
            return found
        name = below
    return None


def _busy(job: JobTable, key: str, node: str, other: JobTable) -> Problem:
    path = (*job.path, key)
    message = (
        f"{dotted(path)}: node '{node}' is busy: {dotted(other.path)} uses it; "
        "set enabled = false in one of them, or remove one that has ended"
    )
    return Problem(path=path, kind=Kind.REFERENCE, message=message, related=other.path)


def targets_in_use(draft: Draft) -> Iterator[Problem]:
    """What a job writes is nobody's disk meanwhile, and can be written."""
    nodes = by_name(draft)
    jobs = list(_at_work(draft, nodes))
    over = parents(nodes) if jobs else {}
    for job, _, target in jobs:
        backup = job.type is not MirrorOptions
        above = over_all(target, over)
        for export in draft.exports:
            harmless = backup and export.raw.get("read-only") is True
            top = skip_disabled(export.text("node") or "", nodes)
            if top in above and not harmless:
                yield _under_export(job, target, export, backup=backup)
                break
        blocker = first_read_only(target, nodes, {})
        if blocker is not None:
            words = f"the job writes to it, but {dotted(blocker.path)} is read-only"
            yield _of_target(job, words, blocker.path)


def _under_export(job: JobTable, target: str, export: ExportTable, *, backup: bool) -> Problem:
    here = dotted(export.path)
    if backup:
        remedy = f"take another target, or set read-only = true in {here}"
    else:
        remedy = "take another target, or set enabled = false here if the mirror has ended"
    words = f'clients of {here} see "{target}", which the job would overwrite: {remedy}'
    return _of_target(job, words, (*export.path, "node"))


def _of_target(job: JobTable, words: str, related: Path) -> Problem:
    path = (*job.path, "target")
    return Problem(
        path=path, kind=Kind.REFERENCE, message=f"{dotted(path)}: {words}", related=related
    )


def _at_work(draft: Draft, nodes: dict[str, NodeTable]) -> Iterator[tuple[JobTable, str, str]]:
    """Jobs that are switched on, with device and target as they will be."""
    for job in draft.jobs:
        ends = {key: skip_disabled(name, nodes) for key, name in job.nodes()}
        both = {"device", "target"} <= ends.keys()  # a copy, and nothing of it is missing
        if job.enabled and both and all(name in nodes for name in ends.values()):
            yield job, ends["device"], ends["target"]
