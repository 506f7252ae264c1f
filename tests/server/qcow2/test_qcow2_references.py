"""What images say of other files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.references import Reference, resolve

JSON = 'json:{"driver":"qcow2","file":{"driver":"file","filename":"%s"}}'


@pytest.mark.parametrize(
    ("name", "kind", "image", "found"),
    [
        ("base.img", "raw", "/vm/top.qcow2", Reference("/vm/base.img", format="raw")),
        ("base.img", None, "top.qcow2", Reference("base.img")),
        ("../base.img", None, "/vm/a/top.qcow2", Reference("/vm/a/../base.img")),
        ("/abs/base.img", "qcow2", None, Reference("/abs/base.img", format="qcow2")),
        ("file:b.img", None, "/vm/top.qcow2", Reference("/vm/b.img")),
        ("file:a:b", None, "/vm/top.qcow2", Reference("/vm/a:b")),
        ("./a:b", None, "/vm/top.qcow2", Reference("/vm/./a:b")),
        ("nbd://host/disk", "raw", None, Reference(uri="nbd://host/disk", format="raw")),
        (JSON % "b.img", None, "/vm/top.qcow2", Reference("/vm/b.img", format="qcow2")),
        (
            'json:{"driver":"file","filename":"/b"}',
            "raw",
            None,
            Reference("/b", format="raw"),
        ),
    ],
)
def test_names_mean_what_they_mean_to_qemu(
    name: str, kind: str | None, image: str | None, found: Reference
) -> None:
    """Relative to the image, not to where the server runs."""
    assert resolve(name, kind, image) == found


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("base.img", "raw", "relative to the image"),
        ("/base", "vmdk", "Unknown driver 'vmdk'"),
        ("http://host/base", None, "Unknown protocol 'http'"),
        ("rbd:pool/image", None, "Unknown protocol 'rbd'"),
        ("file:", None, "empty"),
        ("json:{", None, "Could not parse the JSON options"),
        ('json:{"driver":"rbd"}', None, "Only files"),
        ('json:{"driver":"file"}', None, "No 'filename'"),
        ('json:{"driver":"file","filename":"/b","aio":"native"}', None, "Option 'aio'"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(
    name: str, kind: str | None, message: str
) -> None:
    """With the name that is in the image."""
    with pytest.raises(ImageError, match=message):
        resolve(name, kind, None)


@given(st.text(max_size=40), st.sampled_from([None, "raw", "qcow2"]))
def test_any_text_is_a_reference_or_an_image_error(name: str, kind: str | None) -> None:
    """Also after ``json:``."""
    for text in (name, f"json:{name}"):
        try:
            found = resolve(text, kind, "/vm/top.qcow2")
        except ImageError:
            continue
        assert (found.path is None) != (found.uri is None)
