"""Mesh files of gmsh in version 2.2, as text: read without any package; other versions are for meshio."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

KINDS = {15: ("vertex", 1), 1: ("line", 2), 2: ("triangle", 3), 3: ("quad", 4), 8: ("line3", 3), 9: ("triangle6", 6)}
"""Gmsh's numbers of the kinds of cells that are read, with meshio's names and the number of nodes."""


class Block(NamedTuple):
    """Cells of one kind, as meshio has them."""

    type: str
    data: np.ndarray


def read(path: Path) -> Any:
    """What is in the file with the names that meshio gives it, or None for another version or a binary file.

    Raises
    ------
    ValueError
        For a file that is cut short or has a cell of an unknown kind.
    """
    with open(path, "rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").split()
    if len(head) < 3 or head[0] != b"$MeshFormat" or not head[1].startswith(b"2") or head[2] != b"0":
        return None
    sections = _sections(path.read_text(encoding="utf-8-sig").splitlines())
    if not {"Nodes", "Elements"} <= set(sections):
        raise ValueError("no section Nodes or Elements")
    nodes = np.array([line.split() for line in sections["Nodes"][1:]], float)
    if len(nodes) != int(sections["Nodes"][0]):
        raise ValueError("fewer nodes than it says")
    number = {int(name): row for row, name in enumerate(nodes[:, 0])}
    found: dict[str, tuple[list, list]] = {}
    for line in sections["Elements"][1:]:
        _, kind, tags, *rest = map(int, line.split())
        if kind not in KINDS:
            raise ValueError(f"cells of gmsh's kind {kind}")
        name, count = KINDS[kind]
        cells, groups = found.setdefault(name, ([], []))
        if len(rest) != tags + count:
            raise ValueError(f"{len(rest) - tags} nodes in a {name}")
        cells.append([number[node] for node in rest[tags:]])
        groups.append(rest[0] if tags else 0)
    names = [line.split(maxsplit=2) for line in sections.get("PhysicalNames", ["0"])[1:]]
    return SimpleNamespace(
        points=nodes[:, 1:],
        cells=[Block(name, np.array(cells)) for name, (cells, _) in found.items()],
        cell_data={"gmsh:physical": [np.array(groups) for _, groups in found.values()]},
        field_data={text.strip('"'): (int(tag), int(dimension)) for dimension, tag, text in names},
        cell_sets={},
    )


def write(path: Path | str, mesh: Any) -> None:
    """Write a mesh of the plane with its sides and materials, for gmsh and all that read its files.

    Parameters
    ----------
    path : path
        Ends in `.msh`.
    mesh : fem.Mesh
        With `sides` and `materials`; what is in none of them has the group 0.

    Examples
    --------
    >>> import tempfile
    >>> from hybrid_lib.fem.grids import unit_square
    >>> path = Path(tempfile.mkdtemp()) / "a.msh"
    >>> write(path, unit_square(2))
    >>> read(path).cells[0].data.shape
    (8, 3)
    """
    names = [(1, name) for name in mesh.sides] + [(2, name) for name in mesh.materials]
    tag = {pair: k + 1 for k, pair in enumerate(names)}
    rows = [(1, tag[1, name], nodes) for name, facets in mesh.sides.items() for nodes in facets]
    of_cell = np.zeros(len(mesh.cells), int)
    for name, cells in mesh.materials.items():
        of_cell[cells] = tag[2, name]
    rows += [(2, group, nodes) for group, nodes in zip(of_cell.tolist(), mesh.cells, strict=True)]
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$PhysicalNames", str(len(names))]
    lines += [f'{d} {number} "{name}"' for (d, name), number in tag.items()]
    lines += ["$EndPhysicalNames", "$Nodes", str(len(mesh.points))]
    lines += [f"{k + 1} {x:.10g} {y:.10g} 0" for k, (x, y) in enumerate(mesh.points.tolist())]
    lines += ["$EndNodes", "$Elements", str(len(rows))]
    for k, (kind, group, nodes) in enumerate(rows):
        lines.append(f"{k + 1} {kind} 2 {group} {group} {' '.join(str(node + 1) for node in np.asarray(nodes).tolist())}")
    Path(path).write_text("\n".join([*lines, "$EndElements", ""]), encoding="utf-8")


def _sections(lines: list[str]) -> dict[str, list[str]]:
    """The lines of each section, by its name."""
    found, name = {}, None
    for line in lines:
        if line.startswith("$End"):
            name = None
        elif line.startswith("$"):
            name = line[1:].strip()
            found[name] = []
        elif name is not None and line.strip():
            found[name].append(line)
    return found
