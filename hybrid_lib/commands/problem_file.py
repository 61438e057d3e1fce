"""A problem in a file of TOML, with the medium as a number, a formula, a picture or a table of materials.

.. code-block:: none

    title = "A plate with a hole"
    tolerance = 0.02            # of the relative energy error, guaranteed; 0.01 by default
    source = "10*exp(-x)"       # a number or a formula in x and y

    [parameters]                # names for the formulas
    eps = 0.1

    [domain]                    # one of interval, box, polygon (holes, edges beside it) and mesh; else the picture's
    mesh = "plate.msh"          # beside it merge = true glues nodes that are there twice, crack = true leaves them apart

    [medium]                    # one of value, formula, materials and image
    materials = { steel = 50.0, foam = 0.04 }

    [sides]                     # each side, by name
    hot = 100.0                 # a temperature: number or formula
    hole = "insulated"
    outer = { exchange = 5.0, ambient = 20.0 }
    others = { flux = 0.0 }     # all that are not named

Paths are relative to the file. Formulas are read by :class:`hybrid_lib.media.Expression`; nothing in the file is run.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_lib import media
from hybrid_lib.errors import InputError
from hybrid_lib.media import Expression, Medium
from hybrid_lib.media.expressions import LARGEST
from hybrid_lib.pinn import domains
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.problems import Problem
from hybrid_lib.sides import Dirichlet, Neumann, Robin

KEYS = {
    "": ("title", "tolerance", "source", "parameters", "domain", "medium", "sides"),
    "domain": ("interval", "box", "polygon", "mesh", "holes", "edges", "merge", "crack"),
    "medium": (
        "value", "formula", "image", "materials", "spacing", "origin", "values", "alpha", "beta", "smoothing", "period",
        "principal", "angle",
    ),
}  # fmt: skip
"""Known keys of the file and of its tables."""
KINDS = ("value", "formula", "image", "materials")
"""Ways to give a medium."""
BESIDE = {
    "polygon": ("holes", "edges"),
    "mesh": ("merge", "crack"),
    "value": (),
    "formula": ("alpha", "beta", "period"),
    "image": ("spacing", "origin", "values", "alpha", "beta", "smoothing"),
    "materials": (),
}
"""Keys that go with a domain and with a medium of each kind."""
NUMBERS = {
    "domain": ("interval", "box", "polygon", "holes", "edges"),
    "medium": ("value", "spacing", "origin", "values", "alpha", "beta", "period", "principal"),
}
"""Keys below which there are numbers alone."""


class ProblemFile(NamedTuple):
    """What a file says.

    Attributes
    ----------
    problem : Problem
    tolerance : float
    text : str
        Of the file.
    """

    problem: Problem
    tolerance: float
    text: str


def read(path: Path | str) -> ProblemFile:
    """The problem in a file.

    Raises
    ------
    InputError
        For a missing file, a text that is no TOML, an unknown key (with the one that was meant), and what the domain, the medium,
        the sides and the problem refuse, each in one line.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rod.toml"
    >>> _ = path.write_text('[domain]\\ninterval = [0, 2]\\n[medium]\\nvalue = 3\\n[sides]\\nleft = 1\\nright = "insulated"')
    >>> read(path).problem.boundary
    {'left': Dirichlet(value=1.0), 'right': Neumann(flux=0.0)}
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        content = tomllib.loads(text)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        received = "a folder" if path.is_dir() else "none"
        raise InputError(f"problem file {str(path)!r}", "a file", received, "correct the path") from error
    except (ValueError, RecursionError) as error:  # no text, no TOML, or a number of thousands of digits
        received = "no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InputError(f"problem file {str(path)!r}", "TOML", received, "a text value stands in quotes") from None
    known("", content, KEYS[""])
    for name in ("parameters", "domain", "medium", "sides"):
        if not isinstance(content.get(name, {}), dict):
            raise InputError(name, f"a table [{name}]", repr(content[name])[:60], f"write [{name}] and its keys below it")
    if "medium" not in content:
        raise InputError("medium", "a table [medium]", "none", f"give one of {', '.join(KINDS)}")
    for name in ("domain", "medium"):
        for key, one in content.get(name, {}).items():
            if key not in BESIDE["mesh"]:
                _require_numbers(f"{name}.{key}", one, texts=key not in NUMBERS[name])
    parameters = content.get("parameters", {})
    Expression("0", 1, parameters, "parameters")  # looks at them, used or not
    reader = _Reader(path.parent, parameters)
    with _named("[domain]"):
        domain = reader.domain(content.get("domain", {}))
    with _named("[medium]"):
        medium = reader.medium(content["medium"], domain)
    if domain is None:
        domain = _of_picture(medium) if "image" in content["medium"] else domains.unit_square()
    sides = reader.sides(content.get("sides", {}), domain)
    source = reader.value("source", content.get("source", 0.0), domain.dimension)
    tolerance = content.get("tolerance", 0.01)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance <= LARGEST:
        raise InputError("tolerance", "a number > 0", repr(tolerance), "0.01 is one per cent of the energy norm")
    title = content.get("title", path.stem)
    if not isinstance(title, str):
        raise InputError("title", "a text", repr(title)[:60], "put it in quotes")
    with _named("[sides]", "boundary"):
        problem = Problem(title, domain, medium, source, boundary=sides)
    return ProblemFile(problem, float(tolerance), text)


@contextlib.contextmanager
def _named(place: str, thing: str = "") -> Iterator[None]:
    """Put the place in the file before what is wrong, unless it is said, with a thing that is looked at there or all."""
    name = place.strip("[]")
    try:
        yield
    except InputError as error:
        if error.what.startswith(name) or f"[{name}]" in error.what or not error.what.startswith(thing):
            raise
        what = place if place.endswith(f".{error.what}") else f"{place}, {error.what}"
        raise InputError(what, error.expected, error.received, error.remedy) from None


def known(table: str, given: Iterable[str], keys: Iterable[str]) -> None:
    """Refuse a key that a table does not have, and name the one that was meant."""
    keys = tuple(keys)
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
            raise InputError(f"key {key!r}" + (f" of [{table}]" if table else ""), "a known key", key, remedy)


def one_of(table: str, given: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The one of some keys that is there."""
    found = [key for key in keys if key in given]
    if len(found) != 1:
        raise InputError(f"[{table}]", f"one of {', '.join(keys)}", " and ".join(found) or "none", "give exactly one")
    return found[0]


class _Reader(NamedTuple):
    """What all tables need: where paths start, and the names that formulas know."""

    folder: Path
    parameters: Mapping[str, float]

    def value(self, what: str, given: Any, dimension: int) -> Any:
        """A number, or a formula as a function of one point."""
        if isinstance(given, str):
            return Expression(given, dimension, self.parameters, what)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or abs(given) > LARGEST:
            raise InputError(what, "a number, or a formula in quotes", repr(given)[:60], 'for example 1.5 or "1 + x"')
        return float(given)

    def domain(self, table: dict[str, Any]) -> Domain | None:
        """The domain, None where the table is empty: then it is the picture's, or the unit square."""
        known("domain", table, KEYS["domain"])
        if not table:
            return None
        kind = one_of("domain", table, ("interval", "box", "polygon", "mesh"))
        for needed in ("polygon", "mesh"):
            for key in table:
                if key in BESIDE[needed] and kind != needed:
                    raise InputError(f"domain.{key}", f"a {needed} beside it", kind, "leave it out")
        if kind == "mesh":
            with _named("domain.mesh"):
                return domains.from_mesh(self.mesh(table))
        if kind == "polygon":
            with _named("domain.edges", "sides"):
                return domains.polygon(table["polygon"], table.get("holes", ()), table.get("edges"))
        ends = table[kind]
        if not isinstance(ends, list) or len(ends) != 2:
            expected = "two numbers [a, b]" if kind == "interval" else "two corners [[x, y], [x, y]]"
            raise InputError(f"domain.{kind}", expected, repr(ends)[:60], "the lower end first")
        with _named(f"domain.{kind}"):
            return (domains.interval if kind == "interval" else domains.box)(*ends)

    def mesh(self, table: dict[str, Any]) -> Any:
        """The mesh of a file; what its nodes ask for is said as this file spells it."""
        from hybrid_lib import fem

        merge, crack = table.get("merge", False), table.get("crack", False)
        if not isinstance(crack, bool):
            raise InputError("domain.crack", "true or false", repr(crack)[:60], "true lets parts touch without sharing nodes")
        try:
            return fem.read_mesh(self.path("domain.mesh", table["mesh"]), merge=merge, crack=crack)
        except InputError as error:
            remedy = error.remedy.replace("pass merge=True", "write merge = true").replace("crack=True", "crack = true")
            raise InputError(error.what, error.expected, error.received, remedy) from None

    def medium(self, table: dict[str, Any], domain: Domain | None) -> Medium:
        """The medium."""
        known("medium", table, KEYS["medium"])
        kind = one_of("medium", table, KINDS)
        d = 2 if domain is None else domain.dimension
        for key in table:
            if key not in (kind, "principal", "angle", *BESIDE[kind]):
                beside = ", ".join(BESIDE[kind]) or "nothing but principal and angle"
                raise InputError(f"medium.{key}", f"{beside} beside {kind}", key, "leave it out")
        options = {key: table[key] for key in BESIDE[kind] if key in table}
        found = getattr(self, f"_{kind}")(table[kind], options, domain, d)
        if "principal" not in table and "angle" not in table:
            return found
        if "principal" not in table or d != 2:
            raise InputError("medium.angle", "principal = [k1, k2] beside it, in the plane", "none", "give both, or none")
        angle = self.value("medium.angle", table.get("angle", 0.0), d)
        return media.tensor(table["principal"], angle, found)

    def _value(self, given: Any, options: dict[str, Any], domain: Domain | None, d: int) -> Medium:
        return media.constant(given, d)

    def _formula(self, given: Any, options: dict[str, Any], domain: Domain | None, d: int) -> Medium:
        if domain is not None:
            options["box"] = domain.box
        return media.from_formula(given, d, self.parameters, **options)

    def _image(self, given: Any, options: dict[str, Any], domain: Domain | None, d: int) -> Medium:
        if "values" in options:
            options["values"] = _levels(options["values"])
        if isinstance(options.get("spacing"), list):
            options["spacing"] = tuple(options["spacing"])
        return media.from_image(self.path("medium.image", given), **options)

    def _materials(self, given: Any, options: dict[str, Any], domain: Domain | None, d: int) -> Medium:
        mesh = getattr(domain, "first", None)
        if mesh is None:
            raise InputError("medium.materials", "a domain that is a mesh", "none", 'add [domain] with mesh = "…"')
        if not isinstance(given, dict):
            raise InputError("medium.materials", "a table of numbers by name", repr(given)[:60], "{ steel = 50.0 }")
        values = {name: self._of_material(name, one, d) for name, one in given.items()}
        return media.by_tag(mesh, values)

    def _of_material(self, name: str, given: Any, d: int) -> Any:
        what = f"medium.materials.{name}"
        if isinstance(given, str):
            return media.from_function(Expression(given, d, self.parameters, what), d)
        if isinstance(given, dict):
            known(what, given, ("principal", "angle"))
            if "principal" not in given:
                raise InputError(what, "principal = [k1, k2]", "none", "angle is beside it")
            _require_numbers(f"{what}.principal", given["principal"], texts=False)
            with _named(what):
                return media.tensor(given["principal"], self.value(f"{what}.angle", given.get("angle", 0.0), d))
        return given

    def sides(self, table: dict[str, Any], domain: Domain) -> dict[str, Any]:
        """A condition for each side that is named, and for the others if there is a word for them."""
        names = domain.sides
        known("sides", table, (*names, "others"))
        given = {}
        for name, one in table.items():
            with _named(f"sides.{name}"):
                given[name] = self.condition(f"sides.{name}", one, domain.dimension)
        others = given.pop("others", None)
        if others is not None:
            given |= {name: others for name in names if name not in given}
        return given

    def condition(self, what: str, given: Any, d: int) -> Dirichlet | Neumann | Robin:
        """A temperature, "insulated", or a table with a flux, or with an exchange and what is around."""
        if given == "insulated":
            return Neumann()
        if isinstance(given, str) and difflib.get_close_matches(given, ("insulated",), cutoff=0.8):
            raise InputError(what, "a number, a formula, or insulated", repr(given), "did you mean insulated?")
        if not isinstance(given, dict):
            return Dirichlet(self.value(what, given, d))
        known(what, given, ("temperature", "flux", "exchange", "ambient"))
        if "ambient" in given and "exchange" not in given:
            raise InputError(what, "exchange beside ambient", "none", "{ exchange = 5.0, ambient = 20.0 }")
        kind = one_of(what, given, ("temperature", "flux", "exchange"))
        values = {key: self.value(f"{what}.{key}", one, d) for key, one in given.items()}
        if kind == "exchange":
            return Robin(values["exchange"], values.get("ambient", 0.0))
        return Neumann(values["flux"]) if kind == "flux" else Dirichlet(values["temperature"])

    def path(self, what: str, given: Any) -> Path:
        """A path in the file, as seen from its folder."""
        if not isinstance(given, str) or not given:
            raise InputError(what, "a path in quotes", repr(given)[:60], "relative to the problem file")
        found = self.folder / given
        if not found.is_file():
            raise InputError(what, "a file", f"none at {found}", "paths are relative to the problem file")
        return found


def _levels(given: Any) -> dict[float, float]:
    """Grey levels, which TOML keeps as texts, as numbers."""
    if not isinstance(given, dict):
        raise InputError("medium.values", "a table of levels", repr(given)[:60], "{ 0 = 1.0, 255 = 50.0 }")
    found = {}
    for level, value in given.items():
        try:
            grey = float(level)
        except ValueError:
            grey = math.nan
        if not math.isfinite(grey):
            raise InputError("medium.values", "grey levels as keys", repr(level), "{ 0 = 1.0, 255 = 50.0 }")
        if grey in found:
            raise InputError("medium.values", "each grey level once", f"{level!r} beside another text of it", "leave one out")
        found[grey] = value
    return found


def _of_picture(medium: Medium) -> Domain:
    """The rectangle of a picture, of a smoothed or turned one too."""
    known = getattr(medium.conductivity, "known", None)
    return domains.box(*(medium.pixels.box if known is None else [tuple(map(float, end)) for end in known[:2]]))


def _require_numbers(what: str, given: Any, texts: bool) -> None:
    """Refuse true and false, which Python takes for 1 and 0, and where texts may not stand what is no number either."""
    if isinstance(given, (dict, list)):
        for key, one in given.items() if isinstance(given, dict) else enumerate(given):
            _require_numbers(f"{what}.{key}" if isinstance(given, dict) else what, one, texts)
    elif isinstance(given, bool):
        raise InputError(what, "a number", str(given).lower(), "write the number")
    elif isinstance(given, int) and abs(given) > LARGEST:
        raise InputError(what, "a number", f"one of {len(str(abs(given)))} digits", "take another unit")
    elif not texts and not isinstance(given, (int, float)):
        received = repr(given) if isinstance(given, str) else str(given)
        raise InputError(what, "a number", received[:60], "write it without quotes and unit, with a decimal point")
