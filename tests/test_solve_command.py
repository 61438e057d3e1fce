"""hybrid solve: what it writes is what was solved, and each bad input is one line."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import cli
from hybrid_lib.commands import problem_file, report
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import export

EXAMPLES = Path(__file__).parents[1] / "examples"
ROD = """
title = "A rod"
source = "2*a"
[parameters]
a = 1.5
[domain]
interval = [0.0, 2.0]
[medium]
formula = "1 + x"
[sides]
left = 1.0
right = { flux = -0.5 }
"""
PLATE = """
[medium]
value = 2.0
[sides]
left = 0.0
right = "y"
others = "insulated"
"""


def file(tmp_path, text):
    path = tmp_path / "problem.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_what_was_solved(tmp_path, capsys):
    path = file(tmp_path, ROD)
    assert cli.main(["solve", str(path), "--json", "--tolerance", "0.02", "--format", "npz", "csv"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "" and told["title"] == "A rod" and told["bound"] <= told["tolerance"] == 0.02
    x = np.linspace(0, 2, 41)  # (1 + x) w' = -3x + c with w(0) = 1 and 3 w'(2) = -0.5
    exact = 1 - 3 * x + 8.5 * np.log1p(x)
    with np.load(tmp_path / "problem-solved" / "fields.npz") as found:
        fields = dict(found)
    found = np.interp(x, *np.stack([fields["points"][:, 0], fields["node:w"]])[:, np.argsort(fields["points"][:, 0])])
    assert np.max(np.abs(found - exact)) < 0.01
    assert told["sides"]["right"] == {"heat": -0.5, "within": 0.0, "mean": pytest.approx(exact[-1], abs=1e-3)}
    assert told["sides"]["left"]["heat"] == pytest.approx(-5.5, abs=told["sides"]["left"]["within"] + 1e-9)
    assert told["source"] == pytest.approx(6.0) and told["meshes"][-1]["bound"] == told["bound"]
    assert {Path(name).name for name in told["files"]} == {"fields.npz", "fields.csv", "report.html", "summary.json"}
    assert all(Path(name).is_file() for name in told["files"])


def test_a_side_and_a_material_of_one_name_are_told_apart(tmp_path, capsys):
    """As in a file of gmsh without names: sides 1 and 2 of a strip, and its halves 1 and 2."""
    (tmp_path / "a.msh").write_text(
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n6\n1 0 0 0\n2 1 0 0\n3 2 0 0\n4 0 1 0\n5 1 1 0\n6 2 1 0\n$EndNodes\n"
        "$Elements\n6\n1 1 2 1 1 1 4\n2 1 2 2 2 3 6\n3 2 2 2 3 2 3 6\n4 2 2 2 3 2 6 5\n5 2 2 1 4 1 2 5\n6 2 2 1 4 1 5 4\n"
        "$EndElements\n"
    )
    text = '[domain]\nmesh = "a.msh"\n[medium]\nmaterials = {1 = 1.0, 2 = 1.0}\n[sides]\n1 = 0.0\n2 = 2.0\nothers = "insulated"'
    path = file(tmp_path, text)
    assert cli.main(["solve", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["sides"]
    assert (told["1"]["mean"], told["2"]["mean"]) == pytest.approx((0.0, 2.0))
    found = hl.solve(problem_file.read(path).problem, n=2)
    with pytest.raises(InputError, match="a side or a material; received '2', the name of both") as caught:
        found.mean("2")
    calls = re.findall(r"mean\(.*?\)", caught.value.remedy)
    assert [eval(f"found.{call}", {"found": found}) for call in calls] == pytest.approx([2.0, 1.5])


def test_networks_solve_the_same_file(tmp_path, capsys):
    path = file(tmp_path, ROD)
    assert cli.main(["solve", str(path), "--json", "--network", "--steps", "25", "--format", "npz"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "hypercircle" and told["bound"] < told["tolerance"] == 0.01
    with np.load(tmp_path / "problem-solved" / "fields.npz") as found:
        fields = dict(found)
    x, name = fields["points"][:, 0], next(name for name in fields if name.startswith("node:"))
    assert np.max(np.abs(fields[name] - (1 - 3 * x + 8.5 * np.log1p(x)))) < 0.01
    assert cli.main(["solve", str(path), "--steps", "25"]) == 2 and "beside --network" in capsys.readouterr().err


def test_page_needs_no_other_file_and_describes_its_pictures(tmp_path, capsys):
    path = file(tmp_path, PLATE.replace('"y"', "1.0") + '\n# <script>alert("x")</script>')
    assert cli.main(["solve", str(path), "--tolerance", "0.5", "--out", str(tmp_path / "out")]) == 0
    assert "2,601" not in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert len(alts) == page.count("<img") >= 4 and all(len(alt) > 10 for alt in alts)
    assert "prefers-color-scheme: dark" in page and len(page) < 2_000_000


def test_a_folder_that_is_there_is_kept(tmp_path, capsys):
    path = file(tmp_path, ROD)
    (tmp_path / "problem-solved").mkdir()
    (tmp_path / "problem-solved" / "mine").write_text("")
    assert cli.main(["solve", str(path)]) == 2
    assert "--out: expected a new or empty directory" in capsys.readouterr().err
    assert cli.main(["solve", str(path), "--replace"]) == 0
    assert (tmp_path / "problem-solved" / "mine").exists()


@pytest.mark.parametrize("more", [[], ["--network"]])
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(more, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["solve", str(file(tmp_path, ROD)), "--out", str(tmp_path / "file" / "x"), *more]) == 2
    err = capsys.readouterr().err
    assert err.startswith("hybrid: --out: expected a directory that can be written") and err.count("\n") == 1


def test_what_cannot_be_written_is_in_the_summary(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise InputError("fields.vtu", "a file that can be written", "No space left on device", "make room there")

    path, out = file(tmp_path, ROD), tmp_path / "new" / "out"
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_fields", full)
        assert cli.main(["solve", str(path), "--out", str(out)]) == 2
    assert json.loads((out / "summary.json").read_text())["files"] == [str(out / "summary.json")]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "meshio", None)
        assert cli.main(["solve", str(path), "--out", str(tmp_path / "other"), "--format", "vtk"]) == 2
    assert "unknowns" not in capsys.readouterr().err.splitlines()[-1] and not (tmp_path / "other").exists()


def test_parts_of_a_mesh_are_glued_or_left_apart(tmp_path, capsys):
    points = [(0, 0), (1, 0), (1, 1), (0, 1), (1, 0), (2, 0), (2, 1), (1, 1)]
    nodes = "".join(f"{k + 1} {x} {y} 0\n" for k, (x, y) in enumerate(points))
    elements = "6\n1 3 2 5 1 1 2 3 4\n2 3 2 5 2 5 6 7 8\n3 1 2 1 1 1 4\n4 1 2 2 1 6 7\n5 1 2 3 1 2 3\n6 1 2 4 1 5 8\n"
    parts = {"MeshFormat": "2.2 0 8\n", "Nodes": f"8\n{nodes}", "Elements": elements}
    (tmp_path / "two.msh").write_text("".join(f"${name}\n{text}$End{name}\n" for name, text in parts.items()))
    text = 'source = 1\n[domain]\nmesh = "two.msh"\n%s\n[medium]\nvalue = 1\n[sides]\n1 = 0.0\n2 = 1.0\nothers = "insulated"\n'
    assert cli.main(["solve", str(file(tmp_path, text % ""))]) == 2
    assert "write merge = true to glue the parts, or crack = true for a crack between them" in capsys.readouterr().err
    for key, heat in {"merge": -1.5, "crack": -1.0}.items():  # w = 1.5x - x²/2 on both, x - x²/2 on the left one alone
        path = file(tmp_path, text % f"{key} = true")
        assert cli.main(["solve", str(path), "--json", "--tolerance", "0.1", "--out", str(tmp_path / key)]) == 0
        assert json.loads(capsys.readouterr().out)["sides"]["1"]["heat"] == pytest.approx(heat, rel=1e-6)


def test_what_misses_its_tolerance_ends_with_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("hybrid_lib.experiments.solve"), "UNKNOWNS", 500)
    path = file(tmp_path, PLATE)
    assert cli.main(["solve", str(path), "--tolerance", "0.001", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["reached"] and "a finer mesh" in told["reason"]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_examples_are_solved_within_their_tolerance(name, tmp_path, capsys):
    assert cli.main(["solve", str(EXAMPLES / name), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    heat = sum(row["heat"] for row in told["sides"].values()) + told["source"]
    assert abs(heat) < 1e-6 * max(abs(row["heat"]) for row in told["sides"].values())


def test_heat_is_within_its_bound():
    sides = {"left": hl.Dirichlet(0.0), "right": hl.Robin(3.0, 2.0), "bottom": hl.Neumann(), "top": hl.Neumann(1.0)}
    problem = hl.Problem(medium=hl.media.paper_2d(0.25), source=1.0, boundary=sides)
    rough, fine = (hl.solve(problem, n=n) for n in (16, 96))
    for side in sides:
        off, most = abs(rough.heat_through(side) - fine.heat_through(side)), rough.heat_bound(side)
        assert off <= most + 1e-12 and most < 0.2
    assert 0 < fine.heat_bound("left") < rough.heat_bound("left") / 9
    curved = hl.Problem(medium=hl.media.constant(1.0, 2), boundary=hl.Dirichlet(lambda x: x[0] ** 2))
    assert hl.solve(curved, n=4).heat_bound("left") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[medium\nvalue = 1", "expected TOML; received Expected ']'"),
        (PLATE + "[medum]\nvalue = 1", "received medum; did you mean medium?"),
        (PLATE.replace("value", "vlaue"), "received vlaue; did you mean value?"),
        (PLATE.replace('others = "insulated"', ""), "a condition for each side: bottom, right, top, left; received none"),
        (PLATE.replace("right", "rihgt"), "received rihgt; did you mean right?"),
        (PLATE.replace('"insulated"', '"insulatd"'), "a formula, or insulated; received 'insulatd'; did you mean insulated?"),
        (PLATE.replace('"y"', '"z + 1"'), "sides.right: expected known names; received 'z'"),
        (PLATE.replace('"y"', '"sine(y)"'), "received 'sine'; did you mean sin?"),
        (PLATE.replace('"y"', "true"), "expected a number, or a formula in quotes; received True"),
        *((PLATE.replace(*pair), "expected a number") for pair in (
            ('"y"', "9" * 400), ("2.0", "9" * 400), ("[medium]", "[domain]\ninterval = [0, " + "9" * 400 + "]\n[medium]"))),
        (f"tolerance = {'9' * 5000}\n{PLATE}", "expected TOML; received Exceeds the limit"),
        (f"source = {'9' * 400}\n{PLATE}", "source: expected a number"),
        (PLATE.replace('"y"', "{ ambient = 1 }"), "sides.right: expected exchange beside ambient; received none"),
        (PLATE.replace('"y"', "{ flux = 1, exchange = 2 }"), "received flux and exchange; give exactly one"),
        (PLATE.replace('"y"', "{ flow = 1 }"), "key 'flow' of [sides.right]"),
        (PLATE.replace("value = 2.0", ""), "[medium]: expected one of value, formula, image, materials; received none"),
        (PLATE.replace("value = 2.0", "value = 2.0\nformula = 'x'"), "received value and formula; give exactly one"),
        (PLATE.replace("value = 2.0", "value = -2"), "value: expected a number > 0; received -2"),
        (PLATE.replace("value = 2.0", "value = true"), "medium.value: expected a number; received true"),
        (PLATE.replace("value = 2.0", 'image = "a.npy"\nspacing = 1\nvalues = { "²" = 1 }'), "grey levels as keys; received '²'"),
        *((PLATE.replace("value = 2.0", medium), words) for medium, words in (
            ('value = "1,5"', "medium.value: expected a number; received '1,5'; write it without quotes and unit"),
            ("value = inf", "[medium], value: expected finite numbers"),
            ('formula = "2 + x"\nperiod = "1"', "medium.period: expected a number; received '1'; write it without quotes"),
            ("value = 1\nprincipal = [1, -1]", "[medium], principal[1]: expected a number > 0"),
            ('image = "medium.npy"', "[medium], spacing of the image"),
            ('image = "a.npy"\nspacing = "1mm"', "medium.spacing: expected a number; received '1mm'; write it without quotes"),
            ('image = "a.npy"\nspacing = [1, "1"]', "medium.spacing: expected a number; received '1'"),
            ('image = "a.npy"\nspacing = -1', "[medium], spacing: expected one number > 0"),
            ('image = "a.npy"\nspacing = 1\nvalues = { 1 = "2.0" }', "medium.values.1: expected a number; received '2.0'"),
            ('image = "a.npy"\nspacing = 1\nvalues = { 1 = 1, 2 = -2 }', "received -2; correct the value of level 2"),
            ('image = "medium.npy"\nspacing = 1\nvalues = { 1 = 1, 2 = -2 }', "[medium], image"),
            ('image = "a.npy"\nspacing = 1\nvalues = { 1 = 1, 01 = 9, 2 = 2 }', "each grey level once; received '01'"),
            ('image = "a.npy"\nspacing = 1\nvalues = { 1 = 1, 2 = 2, nan = 1 }', "grey levels as keys; received 'nan'"),
        )),
        (PLATE + '[domain]\ninterval = [0, "1 m"]', "domain.interval: expected a number; received '1 m'"),
        (PLATE + "[domain]\ninterval = [1, 0]", "domain.interval, box: expected two corners"),
        (PLATE + "[domain]\npolygon = [[0, 0], [1, 0], [0, 1]]\nedges = { a = [9] }", "domain.edges, sides, 'a': expected"),
        (PLATE + '[domain]\nmesh = "domain.msh"', "domain.mesh, "),
        (PLATE.replace('others = "insulated"', ""), "[sides], boundary: expected a condition for each side"),
        (PLATE + "\n[parameters]\nsin = 1", "parameters: expected new names with numbers; received sin = 1"),
        (PLATE.replace("value = 2.0", 'formula = "x - 0.5"'), "expected a positive (definite) conductivity"),
        (PLATE.replace("value = 2.0", 'image = "no.png"'), "medium.image: expected a file; received none at"),
        (PLATE.replace("value = 2.0", 'image = "a.npy"'), "spacing of the image"),
        (PLATE.replace("value = 2.0", 'image = "a.npy"\nspacing = 1\nperiod = 2'), "medium.period: expected spacing, origin"),
        (PLATE.replace("value = 2.0", 'image = "a.npy"\nspacing = 1\nvalues = { 1 = 1 }'), "each level of the image: 1, 2"),
        (PLATE.replace("value = 2.0", "materials = { steel = 1 }"), "medium.materials: expected a domain that is a mesh"),
        (PLATE.replace("value = 2.0", "value = 2.0\nangle = 1"), "medium.angle: expected principal = [k1, k2] beside it"),
        (PLATE + '[domain]\nmesh = "no.msh"', "domain.mesh: expected a file; received none at"),
        (PLATE + "[domain]\nbox = [[0, 0], [1, 1]]\ninterval = [0, 1]", "received interval and box; give exactly one"),
        (PLATE + "[domain]\nbox = [1, 2, 3]", "domain.box: expected two corners"),
        (PLATE + "[domain]\nbox = [[0, 0], [0, 1]]", "box"),
        (PLATE + "[domain]\nbox = [[0, 0], [1, 1]]\nholes = []", "domain.holes: expected a polygon beside it; received box"),
        (PLATE + "[domain]\nbox = [[0, 0], [1, 1]]\nmerge = true", "domain.merge: expected a mesh beside it; received box"),
        (PLATE + '[domain]\nmesh = "problem.toml"\ncrack = "no"', "domain.crack: expected true or false; received 'no'"),
        ("source = 1\n" + PLATE.replace("0.0", '"insulated"').replace('"y"', '"insulated"'), "fluxes that balance the source"),
        ('source = "x +"\n' + PLATE, "source: expected a formula; received 'x +'"),
        ("source = [1]\n" + PLATE, "source: expected a number, or a formula in quotes; received [1]"),
        ("tolerance = 0\n" + PLATE, "tolerance: expected a number > 0; received 0"),
        ("title = 3\n" + PLATE, "title: expected a text; received 3"),
        (PLATE.replace('"y"', "{ exchange = -1 }"), "sides.right, Robin coefficient: expected a number >= 0; received -1.0"),
        (PLATE + "[domain]\npolygon = [[0, 0], [1, 0]]", "[domain], vertices: expected a closed outline of three"),
        (PLATE + "[domain]\npolygon = [[0, 0], [1, 1], [1, 0], [0, 1]]", "expected an outline that does not meet"),
        ("medium = 3", "medium: expected a table [medium]; received 3"),
        ("", "medium: expected a table [medium]; received none"),
        ("[parameters]\npi = 3\n" + PLATE.replace('"y"', '"pi*y"'), "expected new names with numbers; received pi = 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_one_line(text, words, tmp_path, capsys):
    for name in ("a", "medium"):
        np.save(tmp_path / f"{name}.npy", [[1.0, 2.0]])
    (tmp_path / "domain.msh").write_text("no mesh")
    assert cli.main(["solve", str(file(tmp_path, text)), "--check"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err and "Traceback" not in err, err


TURNED = "principal = [1, 2]\nangle = "


@pytest.mark.parametrize("more", ["", 'smoothing = "cubic"', TURNED + '"x"', TURNED + "0.3"])
def test_a_picture_is_solved_on_its_own_rectangle(more, tmp_path):
    np.save(tmp_path / "a.npy", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    text = f'[medium]\nimage = "a.npy"\nspacing = 0.5\n{more}\n[sides]\nleft = 1\nright = 0\nothers = "insulated"'
    assert problem_file.read(file(tmp_path, text)).problem.domain.box == ((0.0, 0.0), (1.5, 1.0))


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_heat_without_a_finite_bound_is_unknown():
    wall = {"left": hl.Robin(1e300, 1.0), "right": hl.Dirichlet(0.0)}
    found = hl.solve(hl.Problem(medium=hl.media.constant(1.0, 1), boundary=wall))
    assert found.heat_bound("left") is None and report.within({"within": None}) == report.within({"within": np.inf}) == "unknown"


def test_what_is_wrong_with_the_command_is_said_in_one_line(tmp_path, capsys):
    path = str(file(tmp_path, PLATE))
    for arguments, words in (
        ([str(tmp_path / "no.toml")], "expected a file; received none; correct the path"),
        ([str(tmp_path)], "expected a file; received a folder"),
        ([path, "--format", "vtx"], "--format: expected some of vtu, vtk, xdmf, nc, npz, csv; received vtx"),
        ([path, "--tolerance", "-1"], "--tolerance: expected a number > 0; received -1.0"),
        ([path, "--replcae"], "received --replcae; did you mean --replace?"),
    ):
        assert cli.main(["solve", *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1


def test_a_file_says_all_that_a_problem_can_have(tmp_path):
    text = """
    [domain]
    box = [[0, 0], [2, 1]]
    [medium]
    formula = "1 + x*y"
    principal = [1.0, 4.0]
    angle = "pi*x"
    [sides]
    left = { temperature = "y" }
    right = { exchange = 5.0, ambient = "20*y" }
    others = { flux = 0.0 }
    """
    path = file(tmp_path, text)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as some editors write it
    problem = problem_file.read(path).problem
    assert problem.domain.box == ((0.0, 0.0), (2.0, 1.0)) and problem.medium.is_tensor
    assert isinstance(problem.boundary["left"], hl.Dirichlet) and isinstance(problem.boundary["right"], hl.Robin)
    assert problem.boundary["top"] == hl.Neumann() and problem.name == "problem"
    assert cli.main(["solve", str(tmp_path / "problem.toml"), "--check"]) == 0
