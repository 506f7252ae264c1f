"""Changes of a TOML text that leave every other character as it is.

Each takes a text that tomllib has accepted and gives the new one; values come as TOML text.  What
is put in is laid out as its neighbours are, and taking it out again gives the text from before.
What the result says is not judged here: see :mod:`blkrun.config.edit`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import tomlkit

from blkrun.config.lines import Block, Lines, lines_of
from blkrun.decode import Path
from blkrun.toml.positions import Positions, locate

Pairs = Sequence[tuple[str, str]]
"""Key → value as TOML text."""

_COMMENT_AFTER = re.compile(r"( {2,})#")
_EQUALS = re.compile(r"([ \t]*)=([ \t]*)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def set_values(text: str, values: Mapping[Path, str]) -> str:
    """Values in the place of the old ones; a new key goes below the last of its table."""
    at = locate(text)
    there = sorted((at.values[path], value) for path, value in values.items() if path in at.pairs)
    for (start, end), value in reversed(there):
        text = _replace(text, start, end, value)
    for path, value in values.items():
        if path not in at.pairs:
            text = _add_key(text, path, value)
    return text


def remove_key(text: str, path: Path) -> str:
    """Without a key and the comment beside it.  Raises KeyError if it is not written so."""
    lines = lines_of(text)
    _, table = lines.at.pairs[path]
    if table in lines.at.pairs:
        return _remove_inline(lines.at, path, table)
    start, end = _rows(lines, path)
    return _cut(lines, start, end)


def add_table(text: str, path: Path, pairs: Pairs, *, after: Path | None = None) -> str:
    """A new table, below ``after`` or the last of its section.

    As a line of its own where all tables of the section are written in one line each.
    """
    lines = lines_of(text)
    section = path[:1]
    members = _members(lines.at, section)
    if len(path) > 1 and members and not any(each in lines.at.headers for each in members):
        return _add_key(text, path, _in_braces(pairs))
    anchor = after if after is not None else _last(lines, members)
    if anchor is None and len(path) == 1 and lines.at.headers:
        return _add_first(lines, path, pairs)
    return _add_below(lines, path, pairs, _anchor_blocks(lines, anchor))


def remove_table(text: str, path: Path) -> str:
    """Without a table and the comments that belong to it.  Raises KeyError if it is not there."""
    lines = lines_of(text)
    if path in lines.at.pairs:
        _, table = lines.at.pairs[path]
        if table in lines.at.pairs:
            return _remove_inline(lines.at, path, table)
        _, end = _rows(lines, path)
        return _cut(lines, lines.comment_above(lines.at.pairs[path][0]), end)
    if blocks := lines.blocks(path):
        for block in reversed(blocks):
            text = _cut_block(lines_of(text), block)
        return text
    if not (keys := [each for each in lines.at.pairs if each[: len(path)] == path]):
        raise KeyError(path)
    for key in keys:
        text = remove_key(text, key)
    return text


def key_text(word: str) -> str:
    """A key as TOML writes it."""
    return word if _BARE.fullmatch(word) else str(tomlkit.item(word).as_string())


# One key


def _replace(text: str, start: int, end: int, value: str) -> str:
    """A comment beside it keeps its column, where there is room."""
    old, rest = text[start:end], text[end:]
    if (gap := _COMMENT_AFTER.match(rest)) and "\n" not in old + value:
        spaces = max(1, len(gap[1]) + len(old) - len(value))
        rest = " " * spaces + rest[len(gap[1]) :]
    return text[:start] + value + rest


def _add_key(text: str, path: Path, value: str) -> str:
    lines = lines_of(text)
    if _is_inline(lines.at, path[:-1]):
        return _add_inline(lines.at, path, value)
    return _add_line(lines, path, value)


def _is_inline(at: Positions, table: Path) -> bool:
    return table in at.pairs and at.text.startswith("{", at.values[table][0])


def _add_inline(at: Positions, path: Path, value: str) -> str:
    pair = f"{key_text(str(path[-1]))} = {value}"
    items = [each for each, (_, table) in at.pairs.items() if table == path[:-1]]
    if not items:
        place = at.values[path[:-1]][0] + 1
        return at.text[:place] + pair + at.text[place:]
    place = max(at.values[each][1] for each in items)
    return f"{at.text[:place]}, {pair}{at.text[place:]}"


def _remove_inline(at: Positions, path: Path, table: Path) -> str:
    """With the comma before it, or the one after it if it is the first."""
    start, end = at.pairs[path][0], at.values[path][1]
    before = [at.values[each][1] for each, (_, place) in at.pairs.items() if place == table]
    before = [each for each in before if each <= start]
    if before:
        return at.text[: max(before)] + at.text[end:]
    comma = re.compile(r"[ \t]*,[ \t]*").match(at.text, end)
    return at.text[:start] + at.text[comma.end() if comma else end :]


def _add_line(lines: Lines, path: Path, value: str) -> str:
    table, at = path[:-1], lines.at
    siblings = [
        each
        for each, (_, place) in at.pairs.items()
        if each[: len(table)] == table
        and place == table[: len(place)]
        and not _is_inline(at, place)
    ]
    if not siblings:
        if table in at.headers:
            return _insert_row(lines, table, f"{key_text(str(path[-1]))} = {value}")
        return add_table(at.text, table, [(str(path[-1]), value)])
    last = max(siblings, key=lambda each: at.pairs[each][0])
    start, place = at.pairs[last]
    words = [key_text(str(word)) for word in path[len(place) :]]
    equals = _equals(at, [each for each in siblings if each[:-1] == table] or [last])
    row = f"{lines.indent(start)}{_pair('.'.join(words), value, *equals)}"
    return _insert_row(lines, last, row)


def _insert_row(lines: Lines, above: Path, row: str) -> str:
    """Below the line that a value, or a header, ends in."""
    index = lines.number(lines.at.values[above][1] - 1) + 1
    return _insert(lines, index, [row])


def _equals(at: Positions, keys: Iterable[Path]) -> tuple[int, str, str]:
    """The column of their equals signs, 0 if they are not in line, and what is around the last."""
    columns, before, behind = set(), " ", " "
    for key in keys:
        if (found := _EQUALS.match(at.text, at.names[key][1])) is not None:
            columns.add(found.end(1) - at.pairs[key][0])
            before, behind = found[1], found[2]
    if len(columns) == 1:
        return columns.pop(), before[:1], behind
    return 0, before[:1], behind


def _pair(key: str, value: str, column: int, before: str, behind: str) -> str:
    return f"{key.ljust(column) if len(key) < column else key + before}={behind}{value}"


def _rows(lines: Lines, path: Path) -> tuple[int, int]:
    first, last = lines.at.pairs[path][0], lines.at.values[path][1] - 1
    return lines.number(first), lines.number(last) + 1


# Whole tables


def _members(at: Positions, section: Path) -> list[Path]:
    found = (each[:2] for each in chain(at.headers, at.pairs) if len(each) > 1)
    return list(dict.fromkeys(each for each in found if each[:1] == section))


def _in_braces(pairs: Pairs) -> str:
    inside = ", ".join(f"{key_text(key)} = {value}" for key, value in pairs)
    return f"{{ {inside} }}" if inside else "{}"


def _last(lines: Lines, members: list[Path]) -> Path | None:
    places = {each: max((block.end for block in lines.blocks(each)), default=0) for each in members}
    return max(places, key=lambda each: places[each]) if places else None


def _anchor_blocks(lines: Lines, anchor: Path | None) -> list[Block]:
    """Those of a table; of the header that it is below, where it has none of its own."""
    if anchor is None:
        return []
    if blocks := lines.blocks(anchor):
        return blocks
    places = [
        place
        for each, (_, place) in lines.at.pairs.items()
        if each[: len(anchor)] == anchor and place not in lines.at.pairs
    ]
    return lines.blocks(places[-1])[:1] if places else []


def _add_below(lines: Lines, path: Path, pairs: Pairs, anchor: list[Block]) -> str:
    last = max(anchor, key=lambda block: block.end, default=Block(0, len(lines)))
    rows = _table_rows(lines, path, pairs, last)
    if not lines.lines:
        return lines.newline.join([*rows, ""])
    blanks = lines.blanks_from(last.end, 1)
    if last.end + blanks == len(lines):
        blanks = lines.blanks_from(last.start - 1, -1) if last.start and anchor else 1
        if not anchor or lines.lines[last.end - 1].lstrip().startswith("#"):
            blanks = max(blanks, 1)
    return _insert(lines, last.end, [*[""] * blanks, *rows])


def _add_first(lines: Lines, path: Path, pairs: Pairs) -> str:
    """Above all tables that there are."""
    header = min(lines.at.values[each][0] for each in lines.at.headers)
    place = lines.comment_above(header)
    rows = _table_rows(lines, path, pairs, Block(place, len(lines)))
    return _insert(lines, place, [*rows, *[""] * max(1, lines.blanks_from(place - 1, -1))])


def _table_rows(lines: Lines, path: Path, pairs: Pairs, model: Block) -> list[str]:
    """Laid out as the table in ``model`` is; if that does not tell, as most of the file's are."""
    at = lines.at
    own = [each for each in at.headers if lines.number(at.values[each][0]) in range(*model)]
    indent, inner = "", ""
    if own:
        indent = lines.indent(at.values[own[-1]][0])
        inner = next((lines.indent(at.pairs[each][0]) for each in lines.direct(own[-1])), indent)
    keys = [key_text(key) for key, _ in pairs]
    column, before, behind = 0, " ", " "
    if own and (model_keys := lines.direct(own[-1])):
        _, before, behind = _equals(at, model_keys)
    if _is_aligned(lines, own):
        column = max(map(len, keys), default=0) + len(before)
    header = f"{indent}[{'.'.join(key_text(str(word)) for word in path)}]"
    rows = zip(keys, (value for _, value in pairs), strict=True)
    return [header, *(f"{inner}{_pair(key, value, column, before, behind)}" for key, value in rows)]


def _is_aligned(lines: Lines, own: list[Path]) -> bool:
    for tables in (own, lines.at.headers):
        votes = [vote for each in tables if (vote := _votes(lines, each)) is not None]
        if votes:
            return sum(votes) * 2 > len(votes)
    return True


def _votes(lines: Lines, table: Path) -> bool | None:
    """Whether its equals signs are in line; None if they would be anyway."""
    keys = lines.direct(table)
    lengths = {lines.at.names[each][1] - lines.at.pairs[each][0] for each in keys}
    return None if len(lengths) < 2 else _equals(lines.at, keys)[0] > 0


# Lines


def _insert(lines: Lines, index: int, rows: list[str]) -> str:
    """Rows without line ends; the text ends as it did."""
    before, after = lines.lines[:index], lines.lines[index:]
    end = lines.newline
    if before and not before[-1].endswith("\n"):
        return "".join([*before, *(f"{end}{row}" for row in rows), *after])
    return "".join([*before, *(f"{row}{end}" for row in rows), *after])


def _cut_block(lines: Lines, block: Block) -> str:
    """With one of the gaps beside it, so that what was apart stays apart."""
    start, end = block
    before, after = lines.blanks_from(start - 1, -1), lines.blanks_from(end, 1)
    if end + after == len(lines):
        return _cut(lines, start - before, end)
    if start - before == 0:
        return _cut(lines, start - before, end + after)
    return _cut(lines, start - before if after else start, end)


def _cut(lines: Lines, start: int, end: int) -> str:
    """If the text ended without a newline, it does so again."""
    left = "".join(lines.lines[:start])
    if start < end and not lines.lines[end - 1].endswith("\n"):
        left = left.removesuffix("\n").removesuffix("\r")
    return left + "".join(lines.lines[end:])
