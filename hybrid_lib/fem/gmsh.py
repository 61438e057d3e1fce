"""Mesh files of gmsh: versions 2.2 and 4.1, text or binary, are read without any package; 2.2 is written."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.files import write_atomically

KINDS = {
    15: ("vertex", 1, 0), 1: ("line", 2, 1), 8: ("line3", 3, 1), 2: ("triangle", 3, 2), 9: ("triangle6", 6, 2),
    3: ("quad", 4, 2), 16: ("quad8", 8, 2), 10: ("quad9", 9, 2),
}  # fmt: skip
"""Kinds of cells that are read, by gmsh's number, with meshio's name, the number of nodes and the dimension."""
HIGHER = {*range(20, 29), *range(36, 67)}
"""Lines, triangles and quadrilaterals of third and higher order."""


class Block(NamedTuple):
    """Cells of one kind, as meshio has them."""

    type: str
    data: np.ndarray


class Piece(NamedTuple):
    """Cells of one kind with gmsh's numbers of their nodes, and which of them are in each group."""

    kind: int
    nodes: np.ndarray
    groups: dict[int, np.ndarray]


def read(path: Path) -> Any:
    """What is in the file with the names that meshio gives it, or None for a file that is not gmsh's.

    Groups are in `cell_sets`, by name, or by number if they have none. A curve or surface that is turned in its group, which has
    the group's number with a minus, is in the same one.

    Raises
    ------
    InputError
        For another version, partitions, a cell of an unknown kind, and a file that is cut short.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").lstrip()
    if not content.startswith(b"$"):
        return None
    try:
        return _given(*_content(_sections(content)))
    except InputError as error:
        raise InputError(str(path), error.expected, error.received, error.remedy) from None
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(str(path), "a mesh of gmsh", str(error)[:80], "it is cut short or damaged: save it again") from None


def _sections(content: bytes) -> dict[str, bytes]:
    """What is between the first and the last line of each section, by its name."""
    found, at = {}, 0
    while at >= 0:
        start = content.find(b"\n", at) + 1 or len(content)
        name = content[at + 1 : start].strip()
        end = content.find(b"$End" + name, start)
        if end < 0:
            raise ValueError(f"a section {name[:20].decode()} without its end")
        found[name.decode()] = content[start:end]
        at = content.find(b"$", end + 1)
    return found


def _content(sections: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray, list[Piece], dict[tuple[int, int], str]]:
    """Numbers of the nodes, where they are, cells, and names of groups by dimension and number."""
    header, _, mark = sections.get("MeshFormat", b"1 0 8").partition(b"\n")
    version, form, size = header.decode().split()[:3]
    if not re.fullmatch(r"2(\.[0-2])?|4\.1", version):
        raise InputError("", "a mesh of gmsh's version 2.2 or 4.1", f"version {version}", "save it as version 2.2 or 4.1")
    if "PartitionedEntities" in sections:
        raise InputError("", "a mesh of gmsh in one part", "partitions", "save it without partitions")
    if not {"Nodes", "Elements"} <= set(sections):
        raise ValueError("no section Nodes or Elements")
    order = "" if form == "0" else "<" if mark.startswith(b"\1") else ">"
    names = [line.split(maxsplit=2) for line in _lines(sections.get("PhysicalNames", b"0"), "names")]
    named = {(int(dimension), int(tag)): text.strip().strip('"') for dimension, tag, text in names}
    if version[0] == "2":
        numbers, points = _nodes(sections["Nodes"], order)
        pieces = _binary_elements(sections["Elements"], order) if order else _elements(sections["Elements"])
    else:
        nodes, elements = (_Numbers(sections[name], order, size) for name in ("Nodes", "Elements"))
        numbers, points = _nodes_of_entities(nodes)
        groups = _entities(_Numbers(sections["Entities"], order, size)) if "Entities" in sections else None
        pieces = _elements_of_entities(elements, groups)
    if named and not any(piece.groups for piece in pieces):
        remedy = "save it without Mesh.SaveAll, or as version 4.1" if version[0] == "2" else "save it as version 2.2"
        raise InputError("", f"elements in {', '.join(named.values())}", "none in any group", remedy)
    return numbers, points, pieces, named


def _given(
    numbers: np.ndarray, points: np.ndarray, pieces: list[Piece], names: dict[tuple[int, int], str]
) -> SimpleNamespace:
    """The same in meshio's words."""
    order = np.argsort(numbers)
    known = numbers[order]
    if not len(known):
        raise ValueError("no nodes")
    if np.any(known[1:] == known[:-1]):
        raise ValueError("a node that is there twice")
    cells = []
    for kind, nodes, _ in pieces:
        place = np.searchsorted(known, nodes).clip(max=len(known) - 1)
        if np.any(known[place] != nodes):
            raise ValueError("cells with nodes that are not there")
        cells.append(Block(KINDS[kind][0], order[place]))
    sets: dict[str, list[np.ndarray]] = {}
    for d, tag in sorted({(KINDS[piece.kind][2], tag) for piece in pieces for tag in piece.groups}):
        of = sets.setdefault(names.get((d, tag), str(tag)), [np.zeros(0, int)] * len(pieces))
        for k, (kind, _, groups) in enumerate(pieces):
            if KINDS[kind][2] == d and tag in groups:
                of[k] = np.union1d(of[k], groups[tag])
    return SimpleNamespace(points=points, cells=cells, cell_data={}, field_data={}, cell_sets=sets)


def _kind(number: int) -> tuple[str, int, int]:
    """What is known of a kind of cells."""
    if number not in KINDS:
        expected = "lines, or triangles and quadrilaterals, of first or second order"
        remedy = "save it with Mesh.ElementOrder = 1" if number in HIGHER else "export the cells of a plane or a line"
        raise InputError("", expected, f"cells of gmsh's kind {number}", remedy)
    return KINDS[number]


def _require(what: str, found: float, said: int) -> None:
    """Refuse another number of things than the file says."""
    if found != said:
        raise ValueError(f"{'fewer' if found < said else 'more'} {what} than it says")


def _lines(content: bytes, what: str) -> list[str]:
    """The lines of a section after the first one, which says how many there are."""
    try:
        text = content.decode()
    except UnicodeDecodeError:  # names of an older system
        text = content.decode("latin-1")
    first, *lines = [line for line in text.splitlines() if line.strip()]
    _require(what, len(lines), int(first))
    return lines


# --- version 2.2 ------------------------------------------------------------------------------------------------------


def _nodes(content: bytes, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and coordinates."""
    first, _, content = content.partition(b"\n")
    if order:
        dtype = np.dtype([("number", f"{order}i4"), ("x", f"{order}f8", 3)])
        _require("nodes", min(len(content) // dtype.itemsize, int(first)), int(first))
        rows = np.frombuffer(content, dtype, int(first))
        return rows["number"].astype(int), rows["x"].astype(float)
    values = np.array(content.decode().split(), float)
    _require("nodes", len(values) / 4, int(first))
    return values[::4].astype(int), values.reshape(-1, 4)[:, 1:]


def _elements(content: bytes) -> list[Piece]:
    """Cells of a text."""
    found: dict[int, tuple[list, list]] = {}
    for line in _lines(content, "elements"):
        _, kind, tags, *rest = map(int, line.split())
        name, count, _ = _kind(kind)
        if len(rest) != tags + count:
            raise ValueError(f"{len(rest) - tags} nodes in a {name}")
        nodes, groups = found.setdefault(kind, ([], []))
        nodes.append(rest[tags:])
        groups.append(rest[0] if tags else 0)
    return _pieces(found)


def _binary_elements(content: bytes, order: str) -> list[Piece]:
    """Cells of a binary file."""
    first, _, content = content.partition(b"\n")
    numbers, left, found = _Numbers(content, order, "4"), int(first), {}
    while left > 0:
        kind, many, tags = numbers.take("i4", 3).tolist()
        rows = numbers.take("i4", many * (1 + tags + _kind(kind)[1])).reshape(many, -1)
        nodes, groups = found.setdefault(kind, ([], []))
        nodes.extend(rows[:, 1 + tags :].tolist())
        groups.extend(rows[:, 1].tolist() if tags else [0] * many)
        left -= many
    return _pieces(found)


def _pieces(found: dict[int, tuple[list, list]]) -> list[Piece]:
    """The cells of each kind, with their groups from the numbers of these; a cell of several groups is there for each of them."""
    pieces = []
    for kind, (nodes, groups) in found.items():
        rows, numbers = np.array(nodes), np.abs(groups)
        tags = np.unique(numbers).tolist()
        cell = np.arange(len(rows))
        if len(tags) > 1:
            _, first, same = np.unique(np.sort(rows, axis=1), axis=0, return_index=True, return_inverse=True)
            kept, cell = np.unique(first[same.ravel()], return_inverse=True)
            rows = rows[kept]
        pieces.append(Piece(kind, rows, {tag: np.unique(cell[numbers == tag]) for tag in tags if tag}))
    return pieces


# --- version 4.1 ------------------------------------------------------------------------------------------------------


class _Numbers:
    """The numbers of a section, one after another, from a text (no `order` of bytes) or from bytes."""

    def __init__(self, content: bytes, order: str, size: str):
        self.order, self.size, self.at = order, f"u{size}", 0
        self.content = content if order else np.array(content.decode().split(), float)

    def take(self, kind: str, count: int) -> np.ndarray:
        """The next ones: `i4`, `f8`, or `size` for counts and numbers of nodes."""
        dtype = np.dtype(self.order + (self.size if kind == "size" else kind))
        start, self.at = self.at, self.at + count * (dtype.itemsize if self.order else 1)
        if not start <= self.at <= len(self.content):
            raise ValueError("fewer numbers than it says")
        part = self.content[start : self.at]
        return (np.frombuffer(part, dtype) if self.order else part).astype(float if kind == "f8" else int)

    def one(self, kind: str) -> int:
        """The next one."""
        return int(self.take(kind, 1)[0])


def _entities(numbers: _Numbers) -> dict[tuple[int, int], set[int]]:
    """The groups of each point, curve, surface and volume, by dimension and number."""
    found = {}
    for d, count in enumerate(numbers.take("size", 4).tolist()):
        for _ in range(count):
            tag = numbers.one("i4")
            numbers.take("f8", 6 if d else 3)  # the box around it
            found[d, tag] = set(np.abs(numbers.take("i4", numbers.one("size"))).tolist())
            if d:
                numbers.take("i4", numbers.one("size"))  # what is around it
    return found


def _nodes_of_entities(numbers: _Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and coordinates."""
    blocks, count = numbers.take("size", 4).tolist()[:2]
    names, points = [np.zeros(0, int)], [np.zeros((0, 3))]
    for _ in range(blocks):
        d, _, parametric = numbers.take("i4", 3).tolist()
        many = numbers.one("size")
        width = 3 + (d if parametric else 0)
        names.append(numbers.take("size", many))
        points.append(numbers.take("f8", many * width).reshape(many, width)[:, :3])
    _require("nodes", sum(map(len, names)), count)
    return np.concatenate(names), np.concatenate(points)


def _elements_of_entities(numbers: _Numbers, groups: dict[tuple[int, int], set[int]] | None) -> list[Piece]:
    """Cells, in the groups of their entities if the file has these."""
    blocks, count = numbers.take("size", 4).tolist()[:2]
    found: dict[int, list[np.ndarray]] = {}
    members: dict[int, dict[int, list[np.ndarray]]] = {}
    for _ in range(blocks):
        d, tag, kind = numbers.take("i4", 3).tolist()
        many, width = numbers.one("size"), 1 + _kind(kind)[1]
        nodes = numbers.take("size", many * width).reshape(many, width)[:, 1:]
        if groups is not None and (d, tag) not in groups:
            raise ValueError(f"elements of an entity {tag} that is not there")
        before = sum(map(len, found.setdefault(kind, [])))
        found[kind].append(nodes)
        for name in groups[d, tag] if groups else ():
            members.setdefault(kind, {}).setdefault(name, []).append(np.arange(before, before + many))
    pieces = [
        Piece(kind, np.concatenate(nodes), {name: np.concatenate(of) for name, of in members.get(kind, {}).items()})
        for kind, nodes in found.items()
    ]
    _require("elements", sum(len(piece.nodes) for piece in pieces), count)
    return pieces


# --- writing ----------------------------------------------------------------------------------------------------------


def write(path: Path | str, mesh: Any) -> None:
    """Write a mesh of the plane with its sides and materials, for gmsh and all that read its files.

    Parameters
    ----------
    path : path
        Ends in `.msh`.
    mesh : fem.Mesh
        With `sides` and `materials`; what is in none of them has the group 0.

    Raises
    ------
    InputError
        If it cannot be written; a file that was there before is as it was.

    Examples
    --------
    >>> import tempfile
    >>> from hybrid_lib.fem.grids import unit_square
    >>> path = Path(tempfile.mkdtemp()) / "a.msh"
    >>> write(path, unit_square(2))
    >>> read(path).cells[0].data.shape
    (8, 3)
    """
    names = [(d, name) for d, of in ((1, mesh.sides), (2, mesh.materials)) for name, members in of.items() if len(members)]
    tag = {pair: k + 1 for k, pair in enumerate(names)}
    rows = [(1, tag[1, name], nodes) for name, facets in mesh.sides.items() for nodes in facets]
    of_cell = np.zeros(len(mesh.cells), int)
    for name, cells in mesh.materials.items():
        of_cell[cells] = tag.get((2, name), 0)
    rows += [(2, group, nodes) for group, nodes in zip(of_cell.tolist(), mesh.cells, strict=True)]
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$PhysicalNames", str(len(names))]
    lines += [f'{d} {number} "{name}"' for (d, name), number in tag.items()]
    lines += ["$EndPhysicalNames", "$Nodes", str(len(mesh.points))]
    lines += [f"{k + 1} {x!r} {y!r} 0" for k, (x, y) in enumerate(mesh.points.tolist())]
    lines += ["$EndNodes", "$Elements", str(len(rows))]
    for k, (kind, group, nodes) in enumerate(rows):
        lines.append(f"{k + 1} {kind} 2 {group} {group} {' '.join(str(node + 1) for node in np.asarray(nodes).tolist())}")
    write_atomically(Path(path), "\n".join([*lines, "$EndElements", ""]).encode())
