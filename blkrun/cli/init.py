"""``blkrun init FILE``: a file to begin with."""

import argparse
import os
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.cli.shipped import SCHEMA, examples
from blkrun.config import Sources, parse, read
from blkrun.config.image import look_at
from blkrun.config.save import save
from blkrun.config.starter import starter
from blkrun.decode import nearest
from blkrun.errors import FileError
from blkrun.units import format_about

EXAMPLES = """
blkrun init vm.toml                     a new disk, made when first served
blkrun init vm.toml --image disk.img    one that there is
blkrun init vm.toml --example fleecing  one of those that come with blkrun
blkrun init --list                      which these are
"""

_SCHEMA_LINE = "#:schema "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE [--image PATH | --example NAME] [--force], or --list."""
    parser.add_argument("file", type=Path, nargs="?", help="the TOML file to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--image", type=Path, metavar="PATH", help="a raw image or a block device")
    which.add_argument("--example", metavar="NAME", help="an example of what blkrun can do")
    which.add_argument("--list", action="store_true", help="list the examples")
    parser.add_argument("--force", action="store_true", help="also over a file that there is")


def run(args: argparse.Namespace) -> int:
    """What is written can be served as it is."""
    if args.list:
        _list()
        return Exit.DONE
    file: Path | None = args.file
    if file is None:
        raise FileError("blkrun: which file? write blkrun init FILE, or blkrun init --list")
    texts = _example(file, args.example) if args.example else _starter(file, args.image)
    parse(Sources(main=file, texts=texts))
    for each in texts:
        if not args.force and os.path.lexists(each):
            raise FileError(f"{each} is there already: blkrun init --force writes over it")
    for each, text in texts.items():
        _write(each, text)
    console().print(f"wrote {', '.join(map(str, texts))}; serve it with: blkrun run {file}")
    return Exit.DONE


def _starter(file: Path, image: Path | None) -> dict[Path, bytes]:
    if image is None:
        text = starter(file.name, f"{file.stem}.img", new=True)
    else:
        seen = look_at(image)
        text = starter(
            file.name,
            _from(file, image),
            about=f"{format_about(seen.size_bytes)}, {seen.format}",
            new=False,
            writable=seen.writable,
            image_format=seen.format,
        )
    return {file: _with_schema(text).encode()}


def _from(file: Path, image: Path) -> str:
    """Relative to the file where the image is in its directory, or below."""
    here, there = Path.cwd() / file.parent, Path.cwd() / image
    relative = os.path.relpath(there, here)
    return str(there) if relative.startswith("..") else relative


def _example(file: Path, name: str) -> dict[Path, bytes]:
    """With the files that it includes, at the same place beside it."""
    known = _examples()
    if name not in known:
        meant = nearest(name, known)
        hint = f'did you mean "{meant}"?' if meant else f"there is: {', '.join(known)}"
        raise FileError(f'there is no example "{name}"; {hint}')
    sources = read(known[name])
    texts = {}
    for each, source in sources.texts.items():
        place = file if each == known[name] else file.parent / each.relative_to(known[name].parent)
        texts[place] = _with_schema(_about(source.decode(), known[name], file)).encode()
    return texts


def _about(text: str, example: Path, file: Path) -> str:
    """Its own name instead of the example's, where it says how it is served."""
    old = f"examples/{example.name}"
    return text.replace(old, file.name).replace(f"{example.stem}.sock", f"{file.stem}.sock")


def _with_schema(text: str) -> str:
    """The first line tells editors where the installed schema is."""
    if text.startswith(_SCHEMA_LINE):
        text = text.partition("\n")[2]
    return f"{_SCHEMA_LINE}{SCHEMA}\n{text}"


def _examples() -> dict[str, Path]:
    return {path.stem: path for path in examples()}


def _list() -> None:
    names = _examples()
    width = max(map(len, names), default=0)
    for name, path in names.items():
        console().print(f"{name:<{width}}  {_first_words(path.read_text())}")


def _first_words(text: str) -> str:
    """The first sentence of its first comment."""
    words = (line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    return next(words, "").split(".  ")[0].rstrip(".:")


def _write(file: Path, text: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(file):
            save(file, file.read_bytes(), text)
            return
        with file.open("xb") as new:
            new.write(text)
    except OSError as error:
        raise FileError(f"cannot write {file}: {error.strerror or error}") from error
