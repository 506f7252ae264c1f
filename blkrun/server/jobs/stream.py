"""Stream: an overlay gets what it reads from its backing images, and then does without them (§8.4).

::

    top ─▶ mid ─▶ bottom ─▶ base        top ─▶ base
     ◀──────┴───────┘        becomes    mid ─▶ bottom ─▶ base

A copy-on-read filter over the overlay does the copying, also of what clients read meanwhile: guest
writes win.  At the end the overlay leads to the base, in the graph and in its image, and nobody has
noticed: it has read the same all the time.  The images between stay as they were.
"""

from typing import Any

from msgspec import UNSET

from blkrun.errors import CommandError
from blkrun.job_options import StreamOptions
from blkrun.options import CopyOnReadOptions
from blkrun.server.actions import check_no_job
from blkrun.server.backing_file import format_of, path_of, write_down
from blkrun.server.chain import chain, unfiltered
from blkrun.server.drivers.copy_on_read import CopyOnRead
from blkrun.server.jobs.copying import CopyJob, filter_name, find_device, put_over
from blkrun.server.jobs.job import CANCELED
from blkrun.server.jobs.policy import Conduct, action_on
from blkrun.server.node import Node
from blkrun.server.staging import Staging

CHUNK_BYTES = 512 * 2**10
"""What is looked at, and copied, at once; QEMU's STREAM_CHUNK."""


class Stream(CopyJob):
    """``images`` are the overlay, and those below that it will do without."""

    type = "stream"
    filter: CopyOnRead
    copy_options: StreamOptions

    def __init__(
        self,
        staging: Staging,
        options: StreamOptions,
        conduct: Conduct,
        filter_node: CopyOnRead,
        images: tuple[Node[Any], ...],
    ) -> None:
        super().__init__(staging, options, conduct, filter_node)
        self._images = images

    def run(self) -> None:
        """From the start of the disk to its end; nothing if the base is right below."""
        failure: OSError | None = None
        at, end = 0, self.len_bytes
        while at < end:
            self.await_pace()
            past = min(at + CHUNK_BYTES, end)
            try:
                self._copy(at, past)
            except OSError as error:
                action = action_on(self.options.on_source_error, error.errno)
                self.on_error("read", error)
                if action == "stop":
                    continue
                failure = failure or error
            self.progress(past - at)
            at = past
        self._flush()
        if failure is not None:
            raise failure

    def _copy(self, start: int, end: int) -> None:
        if missing := self.filter.missing(start, end):
            self.charge(sum(past - first for first, past in missing))
            self.filter.copy_up(start, end)

    def _flush(self) -> None:
        """What has been copied is durable before the image says that it is enough."""
        while True:
            self.pause_point()
            try:
                self.filter.file.flush()
            except OSError as error:
                self.on_error("write", error)
            else:
                return

    def prepare(self) -> None:
        """The overlay leads to the base, in one edit with the filter's leaving."""
        self._graph.transaction([self._finish])

    def _finish(self, staging: Staging) -> None:
        if staging.node(self.filter.name) is not self.filter:
            raise CommandError(CANCELED)  # by an edit that has taken it out
        staging.take_out(self.filter)
        top, bottom = self._images[0], self._images[-1]
        if bottom is not top:
            base = staging.child(bottom, "backing")
            staging.set_edge(top, "backing", base)
            self._write_down(staging, top, base)
            staging.settles.append(self.write_record)
            staging.aborts.append(self.forget_record)
        staging.settles.append(lambda: self._decide(pivots=bottom is not top))

    def _write_down(self, staging: Staging, top: Node[Any], base: Node[Any] | None) -> None:
        """An image below that is no file has no name: then the image says what it said."""
        if base is None:
            write_down(staging, top, None, None)
            if getattr(top.options, "backing", None) is UNSET:
                staging.by_itself.add((top, "backing"))  # as its image says from now on
            return
        data = next(chain(base, staging.child))
        name = self.copy_options.backing_file or path_of(staging, data)
        if name is not None:
            write_down(staging, top, name, format_of(data))


def start(staging: Staging, options: StreamOptions, conduct: Conduct) -> None:
    """As an action.  Raises CommandError in QEMU's words."""
    device = find_device(staging, options, of_file=conduct.of_file)
    top = unfiltered(device, staging.child)
    images, base = _images(staging, top, options)
    if base is None and options.backing_file is not None:
        raise CommandError("backing file specified, but streaming the entire chain")
    for image in (*images, *([] if base is None else [base])):
        check_no_job(staging, image)
    bottom = None if base is None and len(images) > 1 else images[-1].name
    keeper = CopyOnRead(
        CopyOnReadOptions(node_name=filter_name(options), file=top.name, bottom=bottom)
    )
    keeper.frozen = (*images, *([] if base is None else [base]))
    put_over(staging, keeper, {"file": top}, options.job_id)
    job = Stream(staging, options, conduct, keeper, images)
    if len(images) > 1:
        job.set_length(staging.size(top))
    staging.add_job(job)


def _images(
    staging: Staging, top: Node[Any], options: StreamOptions
) -> tuple[tuple[Node[Any], ...], Node[Any] | None]:
    """From the overlay down to the last one that is copied from, and the base below that."""
    if options.bottom is not None and options.base_node is not None:
        raise CommandError("'bottom' and 'base-node' cannot be specified at the same time")
    images = tuple(chain(top, staging.child))
    if options.base_node is not None:
        base = _find(staging, options.base_node)
        if base not in images[1:]:
            raise CommandError(f"Node '{base.name}' is not a backing image of '{top.name}'")
        return images[: images.index(base)], base
    if options.bottom is not None:
        bottom = _find(staging, options.bottom)
        if bottom.is_filter:
            raise CommandError(
                f"Node '{bottom.name}' is a filter, use a non-filter node as 'bottom'"
            )
        if bottom not in images:
            raise CommandError(f"Node '{bottom.name}' is not in a chain starting from '{top.name}'")
        past = images.index(bottom) + 1
        return images[:past], images[past] if past < len(images) else None
    return images, None


def _find(staging: Staging, name: str) -> Node[Any]:
    node = staging.node(name)
    if node is None:
        raise CommandError(f"Cannot find device='' nor node-name='{name}'")
    return node
