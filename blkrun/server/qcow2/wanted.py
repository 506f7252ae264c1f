"""What image a node's options ask for.  Pure."""

from blkrun.options import Qcow2Options
from blkrun.server.qcow2.create import Layout, NewImage, layout_of

_VERSIONS = {"v2": 2, "v3": 3}


def wanted_image(
    options: Qcow2Options,
    *,
    backing: tuple[str, str] | None,
    backing_bytes: int | None,
    data_file: str | None,
    has_data_file: bool,
) -> Layout:
    """``backing``: name and format to write into it.  Raises ImageError for what cannot be."""
    size_bytes = backing_bytes if options.size is None else options.size
    if size_bytes is None:
        raise AssertionError("an image with neither size nor backing was checked")
    name, image_format = backing or (None, None)
    return layout_of(
        NewImage(
            size_bytes=size_bytes + -size_bytes % 512 if options.size is None else size_bytes,
            cluster_bytes=options.cluster_size,
            version=_VERSIONS[options.version],
            refcount_bits=options.refcount_bits,
            extended_l2=options.extended_l2,
            lazy_refcounts=bool(options.lazy_refcounts),
            compression_type=options.compression_type,
            backing_file=name,
            backing_fmt=image_format,
            external_data=has_data_file,
            data_file=data_file,
            data_file_raw=options.data_file_raw,
        )
    )
