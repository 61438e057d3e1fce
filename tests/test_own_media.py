"""Media of one's own data: formulas as text, pictures with a spacing, materials of a mesh, tables."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hybrid_lib as hl
from hybrid_lib import Dirichlet, Neumann, domains, fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.media import Expression

POINT = jnp.array([0.3, 0.7])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3 + sin(2*pi*x/eps)*cos(y)", 3 + np.sin(6 * np.pi) * np.cos(0.7)),
        ("1 + 49*(hypot(x - 0.5, y - 0.5) < 0.3)", 50.0),
        ("2 if x < 0.5 else 7", 2.0),
        ("0.2 < x <= 0.3 and not y < 0.5", 1.0),
        ("x**2 + y**-1 - x//0.2 + y % 0.5", 0.09 + 1 / 0.7 - 1 + 0.2),
        ("max(x, y, 0.1) - min(x, y)", 0.4),
        ("where(x > y, 1, clip(5*x, 0, 1))", 1.0),
        ("9**9**9**9", np.inf),
    ],
)
def test_formula_has_the_value_that_it_reads_as(text, value):
    found = Expression(text, 2, {"eps": 0.1})
    np.testing.assert_allclose(found(POINT), value, rtol=1e-12, atol=1e-14)
    assert pickle.loads(pickle.dumps(found)) == found and found(POINT.astype(jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__import__('os').getcwd()", "numbers, names and calls of known functions"),
        ("(lambda: x)()", "numbers, names and calls of known functions"),
        ("x.real", "numbers, names and calls"),
        ("[x for x in (1,)]", "numbers, names and calls"),
        ("x[0]", "write x and y for the coordinates"),
        ("x^2", "write ** for ^"),
        ("sine(x)", "received 'sine'; did you mean sin?"),
        ("sin(x, y)", "expected sin with 1 argument; received 2"),
        ("sin", "expected sin(…)"),
        ("x + epsilon", "received 'epsilon'; "),
        ("1 +", "received '1 +', invalid syntax"),
        ("exp(x", "'(' was never closed at character 4"),
        ("(" * 5000 + ")" * 5000, "received"),
        ("-" * 9000 + "x", "received"),
        ("x" * 20000, "at most 10000 characters"),
        ("'2'", "numbers, names and calls"),
        ("\0", "null bytes"),
        ("", 'for example "2 + sin(2*pi*x)"'),
        (3.0, "received 3.0"),
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused_in_one_line(text, words):
    with pytest.raises(InputError) as caught:
        Expression(text, 2)
    assert words in str(caught.value) and len(str(caught.value)) < 400


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="xy0123456789.+-*/()<>=%, sincoexpab_[]'\"lambdif:", max_size=30))
@example("1e100")  # no number of float32
@example("-x*1e999")
def test_any_text_is_a_formula_or_one_line(text):
    try:
        assert Expression(text, 2)(POINT).shape == ()
    except InputError as error:
        assert "\n" not in str(error)


def test_formula_makes_a_medium_with_its_derivative():
    medium = media.from_formula("2 + sin(2*pi*x/eps)*y", 2, {"eps": 0.5}, period=None)
    exact = [4 * np.pi * np.cos(4 * np.pi * 0.3) * 0.7, np.sin(4 * np.pi * 0.3)]
    np.testing.assert_allclose(medium.divergence(POINT), exact, rtol=1e-12)
    with pytest.raises(InputError, match=r"conductivity at x = .* positive"):
        media.from_formula("x - 0.5", 1)
    with pytest.raises(InputError, match=r"medium.formula: .* no y in one dimension"):
        media.from_formula("x + y", 1)
    with pytest.raises(InputError, match=r"parameters: expected new names with numbers; received pi = 3"):
        media.from_formula("pi*x", 1, {"pi": 3})


PICTURE = np.array([[10, 10, 200], [0, 200, 200]], np.uint8)  # rows from top to bottom


def written(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        pytest.importorskip("PIL.Image").fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_picture_stands_upright_with_the_size_that_its_spacing_says(suffix, tmp_path):
    path, values = written(tmp_path / f"a{suffix}", PICTURE), {0: 1.0, 10: 2.0, 200: 3.0}
    medium = media.from_image(path, (0.5, 0.25), values=values, origin=(1, 2))
    assert medium.pixels.box == ((1.0, 2.0), (2.5, 2.5)) and (medium.alpha, medium.beta) == (1.0, 3.0)
    at = jax.vmap(medium.conductivity)(jnp.array([[1.2, 2.1], [1.2, 2.4], [1.7, 2.1], [1.7, 2.4], [2.4, 2.4]]))
    np.testing.assert_array_equal(at, [1.0, 2.0, 3.0, 2.0, 3.0])
    mesh = fem.from_simplices([[1, 2], [2.5, 2], [2.5, 2.5], [1, 2.5]], [[0, 1, 2], [0, 2, 3]])
    K = fem.cell_coefficient(mesh, medium.conductivity)[:, 0, 0]
    assert mesh.volumes @ K / mesh.volumes.sum() == pytest.approx((1 + 2 + 2 + 3 * 3) / 6, rel=1e-13)


def test_deep_and_floating_pictures_keep_their_levels(tmp_path):
    for array in (np.array([[1, 60000]], np.uint16), np.array([[0.25, 3.5]], np.float32)):
        medium = media.from_image(written(tmp_path / "a.tiff", array), 1.0)
        assert (medium.alpha, medium.beta) == (array.min(), array.max())
    grey = np.stack([PICTURE] * 3 + [np.full_like(PICTURE, 255)], axis=-1)
    assert media.from_image(written(tmp_path / "b.png", grey), 1.0, alpha=1.0, beta=2.0).beta == 2.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: media.from_image([[1, 2], [np.nan, 1], [1, 1]], 1), "image, [row, column]: expected finite numbers"),
        (lambda f: media.from_image([[1, 2], [np.nan, 1], [1, 1]], 1), "the first at [1, 0]"),
        (lambda f: media.from_image([[1, np.inf]], 1, values={1: 1.0}), "the first at [0, 1]"),
        (lambda f: media.from_image([[9, 9], [9, 9], [0, 9]], 1), "pixel [2, 0]: expected a conductivity > 0; received 0; pass"),
        (lambda f: media.from_image([[1, 1]], 1, values={1: -1}), "pixel [0, 0]: expected a conductivity > 0; received -1"),
        (lambda f: media.from_image(f / "k.npz", 1), "pass the array, numpy.load(path)[name]"),
        (lambda f: media.from_image(f / "k.csv", 1), "pass the array, numpy.genfromtxt(path, delimiter"),
        (lambda f: media.from_image([[9, 0]], 1, values={9: 1, 0: -2}), "received -2; correct the value of level 0"),
        (lambda f: media.from_image([[True, False]], 1, values={1: 1}), "level of the image: 0, 1; received none for 0"),
        (lambda f: media.from_image([[True, False]], 1, values={1: 1, 0: -1}), "correct the value of level 0"),
        (lambda f: media.from_image([[9, 0]], 1, values={9: 1, 0: "2"}), "values, level 0: expected real numbers; received '2'"),
        (lambda f: media.from_image([[9, 0]], 1, values={9: 1, 0: [2]}), "values: expected one number for each level"),
        (lambda f: media.from_image(PICTURE), "spacing of the image: expected the length of a pixel; received none"),
        (lambda f: media.from_image(f / "no.png", 1), "expected a file; received none"),
        (lambda f: media.from_image(f, 1), "received a folder"),
        (lambda f: media.from_image(f / "text.png", 1), "expected a picture; received cannot identify"),
        (lambda f: media.from_image(f / "text.npy", 1), "expected an array of numbers"),
        (lambda f: media.from_image(np.random.default_rng(0).random((2, 2, 3)), 1), "expected one grey level a pixel"),
        (lambda f: media.from_image(PICTURE, -1), "spacing: expected one number > 0"),
        (lambda f: media.from_image(PICTURE, 1, values={0: 1, 10: 2}), "level of the image: 0, 10, 200; received none for 200"),
        (lambda f: media.from_image(PICTURE, 1, values={0: 1, 10: 2, 200: 0}), "expected a conductivity > 0"),
        (lambda f: media.from_image(PICTURE, 1), "pass values=, or alpha and beta, which map grey levels"),
        (lambda f: media.from_image(PICTURE, 1, values={}, alpha=1.0), "leave one out"),
        (lambda f: media.from_image(f / "seen.png", 1), "expected pixels that are not transparent"),
        (lambda f: media.from_image(np.dstack([PICTURE] * 4), 1), "expected pixels that are not transparent"),
        (lambda f: media.from_image(np.ma.masked_less(PICTURE, 5), 1), "received masked pixels; fill them"),
        (lambda f: media.from_image(f / "two.gif", 1), "expected one picture; received 2 in one file"),
        (lambda f: media.from_image(PICTURE[0], 1), "expected a picture (rows, columns); received shape (3,)"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_said_in_one_line(make, words, tmp_path):
    for name in ("text.png", "text.npy", "k.npz", "k.csv"):
        (tmp_path / name).write_text("no picture")
    image = pytest.importorskip("PIL.Image")
    grey = [image.fromarray(np.full((2, 2), level, np.uint8)) for level in (50, 90)]
    image.merge("LA", grey).save(tmp_path / "seen.png")
    grey[0].save(tmp_path / "two.gif", save_all=True, append_images=grey[1:])
    with pytest.raises(InputError) as caught:
        make(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def two_materials(n=4):
    mesh = fem.unit_square(n)
    right = mesh.points[mesh.cells].mean(axis=1)[:, 0] > 0.5
    return dataclasses.replace(mesh, materials={"steel": np.flatnonzero(~right), "air": np.flatnonzero(right)})


def test_materials_have_their_conductivity_everywhere_and_on_refined_meshes():
    mesh = two_materials()
    medium = media.by_tag(mesh, {"air": 0.5, "steel": 50})
    x = np.random.default_rng(0).uniform(0, 1, (400, 2))
    np.testing.assert_array_equal(fem.evaluate(medium.conductivity, x), np.where(x[:, 0] > 0.5, 0.5, 50.0))
    fine = fem.refine(fem.refine(mesh))
    right = fine.points[fine.cells].mean(axis=1)[:, 0] > 0.5
    K = fem.cell_coefficient(fine, medium.conductivity)[:, 0, 0]
    np.testing.assert_allclose(K, np.where(right, 0.5, 50.0), rtol=1e-14)
    assert (medium.alpha, medium.beta, medium.bounds_exact, medium.is_lipschitz) == (0.5, 50.0, True, False)


def test_materials_may_be_tensors_and_media():
    wood = media.tensor([1.0, 9.0], np.pi / 2)
    medium = media.by_tag(two_materials(), {"steel": 50, "air": wood})
    np.testing.assert_allclose(medium.conductivity(jnp.array([0.9, 0.1])), np.diag([9.0, 1.0]), atol=1e-14)
    np.testing.assert_array_equal(medium.conductivity(jnp.array([0.1, 0.1])), 50 * np.eye(2))
    medium = media.by_tag(two_materials(), {"steel": media.from_formula("1 + y", 2), "air": 3.0})
    assert float(medium.conductivity(jnp.array([0.1, 0.6]))) == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: media.by_tag(m, {"steel": 1}), "a conductivity for each of steel, air; received none for air"),
        (lambda m: media.by_tag(m, {"steel": 1, "iar": 1}), "one of steel, air; received 'iar'; did you mean air?"),
        (lambda m: media.by_tag(m, {"steel": -1, "air": 1}), "conductivity of steel: expected a number > 0; received -1"),
        (lambda m: media.by_tag(m, {"steel": "hot", "air": 1}), "conductivity of steel: expected real numbers"),
        (lambda m: media.by_tag(m, [1.0, 2.0]), "a dict of materials and numbers; received list; the materials are steel, air"),
        (lambda m: media.by_tag(fem.unit_square(2), {}), "mesh: expected a mesh with materials"),
        (
            lambda m: media.by_tag(dataclasses.replace(m, materials={"a": np.arange(31)}), {"a": 1}),
            "mesh cell 31: expected one material; received none",
        ),
        (
            lambda m: media.by_tag(dataclasses.replace(m, materials={"a": np.arange(32), "b": [3]}), {"a": 1}),
            "mesh cell 3: expected one material; received two materials",
        ),
    ],
)
def test_what_is_wrong_with_materials_is_said_in_one_line(make, words):
    with pytest.raises(InputError) as caught:
        make(two_materials())
    assert words in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_table_interpolates_a_bilinear_function_and_keeps_its_range(seed):
    rng = np.random.default_rng(seed)
    axes = [np.cumsum(rng.uniform(0.1, 1, n)) for n in (3, 4)]
    medium = media.table(axes, 1 + axes[0][:, None] * axes[1])
    x = rng.uniform(0, 4, (30, 2))
    inside = np.clip(x, [a[0] for a in axes], [a[-1] for a in axes])
    np.testing.assert_allclose(jax.vmap(medium.conductivity)(jnp.array(x)), 1 + inside[:, 0] * inside[:, 1], rtol=1e-12)


@pytest.mark.parametrize(
    ("axes", "values", "words"),
    [
        ([[0, 0, 1]], [1, 1, 1], "axes[0]: expected two coordinates or more, ascending"),
        ([[0, 1]], [1, 1, 1], "values: expected shape (2,)"),
        ([[0, 1]], [1, 0], "values[1]: expected a conductivity > 0"),
        ([[0, 1]] * 3, np.ones((2, 2, 2)), "values: expected shape (2, 2, 2)"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(axes, values, words):
    with pytest.raises(InputError) as caught:
        media.table(axes, values)
    assert words in str(caught.value)


def test_uniform_meshes_of_a_box_have_their_lines_on_the_pixels():
    image = np.arange(1.0, 16.0).reshape(3, 5)
    pixels = media.from_image(image, 0.2, origin=(-1.0, 3.0)).pixels
    assert pixels.box == ((-1.0, 3.0), (0.0, 3.6)) and pixels.cells(4, pixels.box) == 6
    assert pixels.cells(4, ((-1.0, 3.0), (0.0, 4.0))) == 5
    assert pixels.cells(4, pixels.box, unit=1.0) == 5


def test_elements_balance_and_bound_the_heat_of_a_rock_of_contrast_a_million():
    """A made slice of a reservoir: channels in log-normal rock, pixels longer than wide; w = 1 left, 0 right, else insulated."""
    rng = np.random.default_rng(3)
    smooth = np.cumsum(rng.normal(size=(12, 20)), axis=1)
    rock = 10 ** np.interp(smooth, (smooth.min(), smooth.max()), (-3, 3))  # rows from top to bottom
    medium = media.from_image(rock, (20.0, 10.0))
    assert medium.beta / medium.alpha == pytest.approx(1e6)
    domain = domains.box(*medium.pixels.box)
    sides = dict.fromkeys(domain.sides, Neumann()) | {"left": Dirichlet(1.0), "right": Dirichlet(0.0)}
    problem = hl.Problem(medium=medium, domain=domain, boundary=sides)
    coarse, fine = (hl.solve(problem, n=n) for n in (12, 48))
    K = fem.cell_coefficient(coarse.mesh, medium.conductivity)[:, 0, 0]
    assert set(np.unique(K)) <= set(np.unique(rock)), "the lines of the mesh are those of the pixels"
    assert fine.heat_through("left") == pytest.approx(-fine.heat_through("right"), rel=1e-9)
    assert coarse.heat_through("left") > fine.heat_through("left") > 0, "elements have more energy, which is the heat"
    assert fine.bound < coarse.bound < 1
    # with a drop of one the heat is the least energy, and that of elements is more by the square of their error
    for one in (coarse, fine):
        assert one.heat_through("left") * (1 - one.bound**2) < fine.heat_through("left")
        assert one.heat_bound("left") == pytest.approx(one.heat_through("left") * one.bound**2, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_values_on_cells_are_the_means_where_no_cell_is_cut(rows, columns, times, periodic):
    values = 1.0 + np.arange(rows * columns).reshape(columns, rows)
    medium = media.raster(values, period=1.0 if periodic else None)
    corners = {}
    for name, n in (("fits", times * np.lcm(rows, columns)), ("cut", 7)):
        mesh = fem.unit_square(int(n))
        corners[name] = mesh.points[mesh.cells]
    np.testing.assert_array_equal(medium.pixels.cell_values(corners["fits"]), medium.pixels.cell_means(corners["fits"]))
    found = medium.pixels.cell_values(corners["cut"])
    assert (found is None) == (rows > 1 or columns > 1)


def test_a_conductivity_that_is_constant_on_cells_has_the_bound_of_its_values():
    problem = hl.Problem(medium=media.by_tag(two_materials(), {"steel": 50, "air": 0.5}), source=1.0, boundary=Dirichlet(0.0))
    mesh = problem.domain.labelled(fem.refine(two_materials()))
    K = fem.cell_coefficient(mesh, problem.medium.conductivity)[:, 0, 0]
    w = fem.solve_diffusion(mesh, K, 1.0)
    known = fem.energy_bound(mesh, K, 1.0, w).bound
    assert fem.energy_bound(mesh, problem.medium.conductivity, 1.0, w).bound == pytest.approx(known, rel=1e-12)
    slow = fem.energy_bound(mesh, lambda x: problem.medium.conductivity(x), 1.0, w).bound  # at half a million points
    assert slow == pytest.approx(known, rel=1e-9)


def test_data_that_do_not_cover_the_domain_and_bounds_that_do_not_hold_there_are_told():
    long, flat = domains.interval(0.0, 3.0), domains.box((0.0, 0.0), (2.0, 1.0))
    small = media.raster([[1.0, 2.0], [3.0, 4.0]])
    for domain, medium, place in (
        (flat, small, r"\(0, 1\) × \(0, 1\)"),
        (flat, media.tensor([1.0, 2.0], 0.0, small), r"\(0, 1\) × \(0, 1\)"),
        (None, media.from_image(np.ones((10, 20)), 0.01), r"\(0, 0.2\) × \(0, 0.1\)"),
        (long, media.table([[0.0, 2.0]], [1.0, 2.0]), r"\(0, 2\)"),
    ):
        with pytest.warns(UserWarning, match=rf"covers {place} of the domain within .*: beyond, its edges go on"):
            hl.Problem(domain=domain, medium=medium)
    hl.Problem(domain=flat, medium=media.raster([[1.0, 2.0]], upper=(2.0, 1.0)))
    hl.Problem(domain=flat, medium=media.raster([[1.0, 2.0]], period=0.5))

    def steep(x):
        return 1 + 100 * x[0] ** 2

    with pytest.raises(InputError, match=r"and 111.1, which were looked at in \(0, 1\); received 1 to 901 in the domain"):
        hl.Problem(domain=long, medium=media.from_function(steep, 1))
    hl.Problem(domain=long, medium=media.from_function(steep, 1, box=(0.0, 3.0)))
    hl.Problem(domain=long, medium=media.from_function(lambda x: 2 + jnp.sin(x[0]), 1, 1.0, 3.0))


@pytest.mark.parametrize("parameters", [{"k": float("nan")}, {"k": float("inf")}, {"True": 5}, {"lambda": 1}, {"\U0001d41a": 1}])
def test_parameters_are_finite_and_named_as_python_reads_them(parameters):
    with pytest.raises(InputError, match="parameters: expected new names with numbers"):
        Expression("1.0", 1, parameters)


def test_long_formulas_have_their_value_and_deep_ones_are_refused():
    total = Expression("+".join(["0.001*x"] * 1200), 1)
    assert float(jax.jit(jax.grad(lambda x: total(x)))(jnp.ones(1))[0]) == pytest.approx(1.2)
    assert float(Expression("10 - 4 - 3*2/4 + 2**3**2", 1)(jnp.ones(1))) == 10 - 4 - 3 * 2 / 4 + 2**3**2
    for text in ("(1+" * 150 + "x" + ")" * 150, "-" * 150 + "x", "sin(" * 150 + "x" + ")" * 150):
        with pytest.raises(InputError, match=r"at most 100 parts in one another|nested too deep|cannot be read"):
            Expression(text, 1)
