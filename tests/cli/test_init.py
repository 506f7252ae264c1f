"""``blkrun init``: what it writes can be served, and nothing of anybody's is written over."""

import os
from pathlib import Path

import pytest

from blkrun.cli import Exit, init, main
from blkrun.config import check, load, read
from blkrun.config.changes import limit
from blkrun.config.edit import document_in, perform_in
from blkrun.options import FileOptions, Qcow2Options, children_of

EXAMPLES = sorted(init._examples())


def test_a_new_disk(tmp_path: Path) -> None:
    """It is right, without a warning, and makes its image beside it."""
    file = tmp_path / "vm.toml"
    assert main(["init", str(file)]) == Exit.DONE
    assert check(read(file)) == []
    disk = load(file).graph.nodes["disk"]
    assert isinstance(disk, FileOptions)
    assert disk.create
    assert disk.path == str(tmp_path / "vm.img")


def test_its_group_takes_limits(tmp_path: Path) -> None:
    """As the comment in it says."""
    file = tmp_path / "vm.toml"
    main(["init", str(file)])
    assert "blkrun limit vm.toml limits iops-total=500" in file.read_text()
    sources = read(file)
    edited = perform_in(sources, limit(document_in(sources), "limits", ["iops-total=500"]))
    assert document_in(edited)["throttle-groups"]["limits"] == {"iops-total": 500}


@pytest.mark.parametrize("beside", [True, False])
def test_an_image(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Named from the file if it is beside it, else by its whole path; its size is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    image = Path("lab/disk.img" if beside else "disk.img")
    image.write_bytes(bytes(2**20))
    assert main(["init", "lab/vm.toml", "--image", str(image)]) == Exit.DONE
    disk = load(Path("lab/vm.toml")).graph.nodes["disk"]
    assert isinstance(disk, FileOptions)
    assert disk.path == str(tmp_path / image)
    assert disk.size is None
    text = Path("lab/vm.toml").read_text()
    assert "1MiB, raw" in text
    assert ('"disk.img"' in text) is beside


def test_an_image_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then clients may not write either, or no server would start."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(512))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    main(["init", str(tmp_path / "vm.toml"), "--image", str(image)])
    assert load(tmp_path / "vm.toml").graph.exports["disk"].read_only


def test_a_qcow2_image_gets_its_driver(tmp_path: Path) -> None:
    """Clients see the disk in it: its size is told, not the file's."""
    image = tmp_path / "disk.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(20) + (2**30).to_bytes(8, "big") + bytes(480))
    assert main(["init", str(tmp_path / "vm.toml"), "--image", str(image)]) == Exit.DONE
    graph = load(tmp_path / "vm.toml").graph
    assert isinstance(graph.nodes["image"], Qcow2Options)
    assert children_of(graph.nodes["limit"]) == {"file": "image"}
    assert "1GiB, qcow2" in (tmp_path / "vm.toml").read_text()


HEADS = {
    b"KDMV": "is a vmdk image",
    b"vhdxfile": "is a vhdx image",
    bytes(64) + b"\x7f\x10\xda\xbe": "is a vdi image",
    bytes(1024) + b"conectix" + bytes(504): "is a vpc image",
    b"\x1f\x8b\x08": "is compressed: unpack it first, with gunzip",
    b"": "is empty: make it as large as the disk shall be",
}


@pytest.mark.parametrize(("head", "words"), HEADS.items(), ids=HEADS.values())
def test_what_would_be_served_as_garbage_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: bytes, words: str
) -> None:
    """With what is possible, and nothing is written."""
    image = tmp_path / "disk.any"
    image.write_bytes(head)
    assert main(["init", str(tmp_path / "vm.toml"), "--image", str(image)]) == Exit.USAGE
    assert words in capsys.readouterr().err
    assert not (tmp_path / "vm.toml").exists()


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless it is forced."""
    file = tmp_path / "vm.toml"
    file.write_text("# mine\n")
    assert main(["init", str(file)]) == Exit.USAGE
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "# mine\n"
    assert main(["init", str(file), "--force"]) == Exit.DONE
    assert load(file).graph.exports


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example(tmp_path: Path, name: str) -> None:
    """With what it includes, and under its new name."""
    file = tmp_path / "lab" / "vm.toml"
    assert main(["init", str(file), "--example", name]) == Exit.DONE
    assert load(file).graph.exports
    assert f"examples/{name}.toml" not in file.read_text()


def test_examples_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each in a line, with a sentence."""
    assert main(["init", "--list"]) == Exit.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == EXAMPLES
    assert all(len(line.split()) > 3 and "#" not in line for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vm.toml", "--example", "quickstar"], 'did you mean "quickstart"?'),
        (["vm.toml", "--image", "nowhere.img"], "nowhere.img: No such file"),
        ([], "which file?"),
    ],
)
def test_what_cannot_be_meant(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said, as wrong usage."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", *words]) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
