"""Pixels stay pixels: values, exact means over cells, orientation, and fluxes against an independent solver."""

import pickle
import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import spsolve

from hybrid_lib import experiments, fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import element_cost, fine_solution, mean_flux, own_problem, smoothing_change
from hybrid_lib.media.pixels import Pixels
from hybrid_lib.multiscale.homogenisation import cell_problem, harmonic_mean

BOARD = np.where(np.random.default_rng(3).uniform(size=(6, 6)) < 0.5, 1.0, 50.0)


def finite_volumes(pixels, refined, source=0.0):
    """Mean flux and w of the five-point scheme on refined pixels: harmonic means, w = x₁ on the boundary; no library code."""
    K = np.kron(pixels, np.ones((refined, refined)))
    n = len(K)
    number, h = np.arange(n * n).reshape(n, n), 1 / n
    centre = (np.arange(n) + 0.5) * h
    rows, columns, entries, right = [], [], [], np.full(n * n, source * h * h)
    diagonal = np.zeros((n, n))
    for axis in (0, 1):
        k, i = np.moveaxis(K, axis, 0), np.moveaxis(number, axis, 0)
        t = 2 * k[1:] * k[:-1] / (k[1:] + k[:-1])  # between neighbours
        rows += [i[1:].ravel(), i[:-1].ravel()]
        columns += [i[:-1].ravel(), i[1:].ravel()]
        entries += [-t.ravel()] * 2
        along = np.moveaxis(diagonal, axis, 0)
        along[1:] += t
        along[:-1] += t
        for end, at in ((0, 0.0), (-1, 1.0)):
            along[end] += 2 * k[end]
            values = np.full(n, at) if axis == 0 else centre
            right[i[end]] += 2 * k[end] * values
    A = sp.csr_array((np.concatenate([*entries, diagonal.ravel()]),
                      (np.concatenate([*rows, number.ravel()]), np.concatenate([*columns, number.ravel()]))))  # fmt: skip
    w = spsolve(sp.csc_array(A), right).reshape(n, n)
    inner = 2 * K[1:] * K[:-1] / (K[1:] + K[:-1]) * np.diff(w, axis=0) / h
    faces = np.concatenate([2 * K[:1] * w[:1] / h, inner, 2 * K[-1:] * (1 - w[-1:]) / h])  # fluxes through the faces along x₁
    return float(np.mean(np.sum(faces[1:-1], axis=0) + (faces[0] + faces[-1]) / 2) * h), w


images = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6)).map(
    lambda t: 10 ** np.random.default_rng(t[2]).uniform(-3, 3, t[:2])
)


@settings(max_examples=25, deadline=None)
@given(images, st.sampled_from([None, 0.5, 1.0]), st.integers(0, 10**6))
def test_every_pixel_has_its_value_and_its_place(image, period, seed):
    medium, shape = media.raster(image, period=period), image.shape
    x = np.random.default_rng(seed).uniform(0, 1, (40, 2))
    box = np.floor(np.mod(x, period or 1) / (period or 1) * shape).astype(int)
    np.testing.assert_array_equal(fem.evaluate(medium.conductivity, x), image[box[:, 0], box[:, 1]])
    assert (medium.alpha, medium.beta) == (image.min(), image.max())


def test_a_picture_file_is_turned_as_the_docstring_says():
    picture = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])  # 1 at the upper left, 6 at the lower right
    at = jax.vmap(media.raster(np.flipud(picture).T).conductivity)
    corners = jnp.array([[0.01, 0.99], [0.99, 0.99], [0.01, 0.01], [0.99, 0.01]])
    assert at(corners).tolist() == [1.0, 3.0, 4.0, 6.0]


def test_outside_of_the_image_its_edge_goes_on_without_overflow():
    medium = media.raster([[1.0, 2.0], [3.0, 4.0]], lower=0.25, upper=0.75)
    values = jax.vmap(medium.conductivity)(jnp.array([[-1e12, 0.3], [0.6, 1e12], [1e12, -1e12]]))
    assert values.tolist() == [1.0, 4.0, 3.0]


@settings(max_examples=8, deadline=None)
@given(images, st.booleans(), st.floats(-0.7, 0.7), st.integers(0, 10**6))
def test_means_over_triangles_are_those_of_polygons(image, periodic, lower, seed):
    grid = Pixels(image, lower, np.array([0.31, 0.17]), periodic)
    corners = np.random.default_rng(seed).uniform(-1, 1.5, (3, 3, 2))
    expected = []
    for triangle in corners:  # by cutting the triangle with every box (Sutherland and Hodgman)
        total = 0.0
        for i in range(-9, 10):
            for j in range(-16, 17):
                box = np.array([i, j])
                index = box % image.shape if periodic else np.clip(box, 0, np.array(image.shape) - 1)
                total += image[tuple(index)] * _area(_clip(triangle, lower + box * grid.sizes, grid.sizes))
        expected.append(total / _area(triangle))
    np.testing.assert_allclose(grid.cell_means(corners), expected, rtol=1e-9)


def _area(polygon):
    x, y = np.asarray(polygon).reshape(-1, 2).T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def _clip(polygon, low, sides):
    polygon = list(polygon)
    for axis, sign, bound in ((0, 1, low[0]), (0, -1, -(low[0] + sides[0])), (1, 1, low[1]), (1, -1, -(low[1] + sides[1]))):
        kept = []
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            da, db = sign * a[axis] - bound, sign * b[axis] - bound
            kept += [a] if da >= 0 else []
            kept += [a + da / (da - db) * (b - a)] if da * db < 0 else []
        polygon = kept
    return polygon or np.zeros((3, 2))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=7), st.booleans(), st.integers(1, 40))
def test_means_over_intervals(values, periodic, n):
    grid = Pixels(np.array(values), 0.1, np.array([0.13]), periodic)
    x = np.linspace(-0.5, 1.5, n + 1)
    lines = np.unique(np.concatenate([x, 0.1 + 0.13 * np.arange(-20, 20)]))
    lines = lines[(lines >= -0.5) & (lines <= 1.5)]
    inside = fem.evaluate(grid, ((lines[1:] + lines[:-1]) / 2)[:, None]) * np.diff(lines)
    expected = np.add.reduceat(inside, np.searchsorted(lines, x[:-1])) / np.diff(x)
    np.testing.assert_allclose(grid.cell_means(np.stack([x[:-1], x[1:]], axis=1)[:, :, None]), expected, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60))
def test_a_mesh_with_its_lines_on_the_pixels(n1, n2, least):
    image = np.random.default_rng(n1 * 10 + n2).uniform(1, 2, (n1, n2))
    grid = media.raster(image).pixels
    cells = grid.cells(least)
    assert least <= cells < least + np.lcm(n1, n2) and cells % n1 == cells % n2 == 0
    mesh = fem.unit_square(cells)
    centre = np.floor(mesh.points[mesh.cells].mean(axis=1) * (n1, n2)).astype(int)
    K = fem.cell_coefficient(mesh, media.raster(image).conductivity)
    np.testing.assert_array_equal(K[:, 0, 0], image[centre[:, 0], centre[:, 1]])


def test_lines_that_no_mesh_has_leave_the_number_alone():
    grid = media.raster([1.0, 2.0], lower=0.0, upper=2 / np.pi).pixels
    assert grid.cells(7) == 7 and grid.jumps(0, 1)[0] == pytest.approx([1 / np.pi])
    assert media.raster([1.0, 1.0, 2.0, 2.0]).pixels.cells(1) == 2  # equal neighbours have no line between them
    assert media.raster(np.full(5, 3.0)).is_lipschitz


@pytest.mark.parametrize("direction", [0, 1, (0.0, -2.0)])
def test_layers_across_an_axis_are_pixels(direction):
    medium = media.layered([1.0, 10.0, 3.0], direction, 0.3, 2)
    x = np.random.default_rng(0).uniform(0, 1, (200, 2))
    np.testing.assert_array_equal(fem.evaluate(medium.conductivity, x), fem.evaluate(medium.pixels, x))
    mesh = fem.unit_square(7)  # not one of its lines on a layer
    assert mesh.volumes @ fem.cell_coefficient(mesh, medium.conductivity)[:, 0, 0] == pytest.approx(_mean_of_layers(medium))
    assert media.layered([1.0, 10.0], (1.0, 1.0), 0.3, 2).pixels is None


def _mean_of_layers(medium):
    axis = int(np.argmax([len(x) for x in medium.pixels.jumps(0, 1)]))
    edges = np.concatenate([[0.0], medium.pixels.jumps(0, 1)[axis], [1.0]])
    points = np.full((len(edges) - 1, 2), 0.01)
    points[:, axis] = (edges[1:] + edges[:-1]) / 2
    return fem.evaluate(medium.conductivity, points) @ np.diff(edges)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.tuples(st.integers(1, 4), st.integers(1, 4)), periodic=st.booleans())
def test_a_tensor_in_each_pixel(seed, shape, periodic):
    """Values at their place, means by component on triangles across pixels, bounds of the eigenvalues."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(*shape, 2, 2))
    K = root @ root.mT + 0.1 * np.eye(2)
    medium = media.raster(K, **({"period": 1.0} if periodic else {"upper": (1.0, 1.0)}))
    x = rng.uniform(size=2)
    i, j = (x * shape).astype(int)
    np.testing.assert_allclose(medium.conductivity(jnp.asarray(x)), K[i, j], rtol=1e-14)
    corners = rng.uniform(-0.5, 1.5, size=(3, 3, 2))
    options = {"period": 1.0} if periodic else {"upper": (1.0, 1.0)}
    shift = 100.0  # a component of a tensor may be negative, pixels may not
    parts = [[media.raster(K[..., a, b] + shift, **options).pixels.cell_means(corners) - shift for b in (0, 1)] for a in (0, 1)]
    np.testing.assert_allclose(medium.pixels.cell_means(corners), np.moveaxis(parts, 2, 0), atol=1e-10)
    values = np.linalg.eigvalsh(K)
    np.testing.assert_allclose([medium.alpha, medium.beta], [values.min(), values.max()], rtol=1e-12)


def test_tensors_that_are_numbers_are_solved_as_these():
    one, two = (own_problem(media.raster(K), 1.0) for K in (BOARD, BOARD[..., None, None] * np.eye(2)))
    found = [experiments.solve(problem, n=6) for problem in (one, two)]
    np.testing.assert_allclose(found[1].w, found[0].w, atol=1e-12)
    assert abs(found[1].bound / found[0].bound - 1) < 1e-9
    smooth = [media.raster(K, smoothing="linear") for K in (BOARD, BOARD[..., None, None] * np.eye(2))]
    x = jnp.array([0.31, 0.77])
    np.testing.assert_allclose(smooth[1].conductivity(x), smooth[0].conductivity(x) * np.eye(2), rtol=1e-12)
    again = pickle.loads(pickle.dumps(two.medium))
    np.testing.assert_array_equal(again.conductivity(x), two.medium.conductivity(x))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.array([[1.0, 0.5], [0.4, 1.0]]), {}, r"image\[0, 0\]: expected a symmetric positive definite .* symmetric part"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), {}, r"image\[0, 0\]: .* elliptic only for K > 0"),
        (np.eye(2), {"alpha": 1.0, "beta": 2.0}, "alpha and beta: expected none beside tensors"),
    ],
)
def test_a_pixel_that_is_no_conductivity_tensor_is_named(image, options, message):
    with pytest.raises(InputError, match=message):
        media.raster(image[None, None], **options)


def test_a_tensor_of_pixels_has_exact_means_too():
    medium = media.tensor([1.0, 3.0], 0.4, media.raster(BOARD))
    mesh = fem.unit_square(5)
    means = fem.cell_coefficient(mesh, medium.conductivity)
    scalar = fem.cell_coefficient(mesh, media.raster(BOARD).conductivity)[:, 0, 0]
    np.testing.assert_allclose(np.linalg.eigvalsh(means), scalar[:, None] * [1.0, 3.0], rtol=1e-12)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=9))
def test_one_dimension_is_a_harmonic_mean(values):
    expected = 1 / np.mean(1 / np.array(values))
    problem = own_problem(media.raster(values))
    assert mean_flux(problem.medium) == pytest.approx((expected, expected), rel=1e-10)
    assert experiments.reference(problem).upscaled == pytest.approx(expected, rel=1e-10)
    tensor = cell_problem(problem.medium.conductivity, 1, len(values), sample=True).tensor
    assert tensor[0, 0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("contrast", [5.0, 50.0])
def test_bounds_enclose_the_five_point_scheme(contrast):
    pixels = np.where(BOARD > 1, contrast, 1.0)
    fluxes = [finite_volumes(pixels, refined)[0] for refined in (8, 16)]
    lower, upper = mean_flux(media.raster(pixels), tolerance=0.05, most_unknowns=20_000)
    assert lower < upper < 1.12 * lower
    assert lower * 0.995 < fluxes[1] < upper * 1.005
    smooth = smoothing_change(media.raster(pixels, smoothing="cubic"), tolerance=0.05, most_unknowns=20_000)
    assert smooth.change - smooth.error > 0.1  # the splines conduct better, and it is no matter of the mesh
    assert smooth.pixels == pytest.approx(np.sqrt(lower * upper))


def test_smoothing_by_a_width_tends_to_the_pixels():
    wide, narrow = (
        smoothing_change(media.raster([1.0, 5.0, 2.0], smoothing=w), tolerance=1e-4) for w in (1 / 4, 1 / 16)
    )
    assert wide.change == pytest.approx(4 * narrow.change, rel=0.2)  # of first order in the width
    assert narrow.change > 10 * narrow.error > 0


def test_elements_solve_the_exact_pixels():
    pixels = np.where(BOARD > 1, 5.0, 1.0)
    problem = own_problem(media.raster(pixels), 1.0)
    w = finite_volumes(pixels, 16, 1.0)[1]
    u = fine_solution(problem, 96).reshape(97, 97)  # [x₂, x₁]
    centres = (u[1:, 1:] + u[:-1, :-1]).T / 2 + (np.arange(96)[:, None] + 0.5) / 96  # on the diagonals of the cells
    assert np.linalg.norm(centres - w) < 5e-3 * np.linalg.norm(w)


def test_price_of_elements_starts_on_the_pixels():
    rows = element_cost(own_problem(media.raster(np.where(BOARD > 1, 2.0, 1.0)), 1.0), 0.02)
    assert rows[0].cells == 24 and rows[-1].error <= 0.02  # four cells a pixel, no length needed
    image = np.random.default_rng(0).uniform(1, 2, (4, 6))
    assert element_cost(own_problem(media.raster(image)), 0.5)[0].cells == 24
    assert element_cost(own_problem(media.raster(image)), 0.5, length=0.5)[0].cells == 12


def test_a_run_on_a_smoothed_image_says_what_the_smoothing_did():
    problem = own_problem(media.raster([1.0, 5.0, 2.0], smoothing="cubic"), 1.0)
    config = experiments.configuration("heat1d-eps15", method="pinn", network="mlp")
    small = {"training.steps": "1", "network.widths": "3", "sampling.points": "8"}
    config = experiments.with_settings(config, small)
    told = experiments.train(problem, config).summary["smoothing"]
    assert told["pixels"] == pytest.approx(3 / (1 + 1 / 5 + 1 / 2), rel=1e-9)
    assert abs(told["smoothed"] / told["pixels"] - 1) == pytest.approx(abs(told["change"]))
    assert abs(told["change"]) > 0.05 > told["error"]
    turned = media.tensor([1.0, 1.0], 0.3, media.raster(BOARD[:2, :2], smoothing="cubic"))
    plain = media.raster(BOARD[:2, :2], smoothing="cubic")
    assert smoothing_change(turned).change == pytest.approx(smoothing_change(plain).change, rel=1e-6)
    with pytest.raises(InputError, match="medium: expected a smoothed image; received 'raster'; make one with"):
        smoothing_change(media.raster([1.0, 5.0]))


@pytest.mark.parametrize("period", [0.3, 1.0])
def test_cell_problems_and_harmonic_means_of_pixels_are_exact(period):
    tile = [1.0, 7.0, 3.0]
    line = media.raster(tile, period=period)
    expected = 3 / (1 + 1 / 7 + 1 / 3)
    assert harmonic_mean(line.conductivity, 256, period) == pytest.approx(expected, rel=1e-12)
    plane = media.raster(np.array(tile)[:, None], period=period)
    found = cell_problem(plane.conductivity, 2, 9, period).tensor
    np.testing.assert_allclose(found, np.diag([expected, 11 / 3]), rtol=1e-12, atol=1e-12)
    off = cell_problem(plane.conductivity, 2, 8, period)  # no line on a pixel: the mean of K is exact all the same
    assert off.tensor[1, 1] == pytest.approx(11 / 3, rel=1e-12)


GREY = np.array([[10, 10, 200], [0, 200, 100]], np.uint8)
LEVELS = np.array([[256, 511], [300, 400]], np.uint16)


def png(levels, kind):
    """PNG of 16 bits."""
    head = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, kind, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels))
    chunks = [b"IHDR" + head, b"IDAT" + rows, b"IEND"]
    packed = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff(levels, **changes):
    """TIFF without compression; tags by name."""
    tags = {"columns": 256, "rows": 257, "bits": 258, "photometric": 262, "start": 273, "turn": 274, "channels": 277, "size": 279,
            "kind": 339}  # fmt: skip
    rows, columns, channels = np.atleast_3d(levels).shape
    given = {"columns": columns, "rows": rows, "bits": 8 * levels.itemsize, "photometric": 1, "start": 10 + 12 * len(tags) + 4,
             "turn": 1, "channels": channels, "size": levels.nbytes, "kind": {"u": 1, "f": 3}[levels.dtype.kind]}  # fmt: skip
    entries = (struct.pack("<HHII", tag, 3, 1, (given | changes)[name]) for name, tag in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + levels.tobytes()


def turned(path, turn):
    """A picture whose Exif says how to turn it."""
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x112] = turn
    image.fromarray(GREY).save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("rgb.png", lambda f: f.write_bytes(png(np.dstack([LEVELS] * 3), 2)), "16 bits, of which 8 would be read; save it as 16"),
        ("rgba.png", lambda f: f.write_bytes(png(np.dstack([LEVELS] * 3 + [LEVELS | 65535]), 6)), "save it as 16-bit grey"),
        ("alpha.png", lambda f: f.write_bytes(png(np.dstack([LEVELS, LEVELS | 65535]), 4)), "save it as 16-bit grey"),
        ("rgb.tif", lambda f: f.write_bytes(tiff(np.dstack([LEVELS] * 3), photometric=2)), "save it as 16-bit grey"),
        ("rgb.ppm", lambda f: f.write_bytes(b"P6 1 1 65535 " + b"\1\0" * 3), "save it as 16-bit grey"),
        *(
            (f"{most}.{kind}", lambda f, head=head, most=most: f.write_bytes(b"%s 2 1 %d " % (head, most) + b"\1" * 12),
             f"a largest level of {most}, which would be stretched; save it as PNG")
            for kind, head, most in (("pgm", b"P5", 127), ("pgm", b"P5", 4095), ("ppm", b"P6", 200), ("ppm", b"P6", 1000))
        ),
        *((f"{turn}.tif", lambda f, turn=turn: turned(f, turn), f"tag {turn}; turn it and save") for turn in range(2, 9)),
        *((f"{turn}.png", lambda f, turn=turn: turned(f, turn), f"tag {turn}; turn it and save") for turn in (2, 6)),
        ("6.jpg", lambda f: turned(f, 6), "turn it and save it without the tag"),
        ("plain.tif", lambda f: f.write_bytes(tiff(GREY, turn=5)), "turn it and save it without the tag"),
        ("white.tif", lambda f: f.write_bytes(tiff(LEVELS, photometric=0)), "white as 0; save it with black as 0"),
        ("float.tif", lambda f: f.write_bytes(tiff(np.float32(LEVELS), photometric=0)), "white as 0; save it with black as 0"),
    ],
)  # fmt: skip
def test_a_picture_that_would_be_read_as_another_one_is_refused(name, write, words, tmp_path):
    pytest.importorskip("PIL.Image")
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        media.from_image(tmp_path / name, 1.0, alpha=1.0, beta=2.0)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_is_read_as_it_is_seen(tmp_path):
    grey = pytest.importorskip("PIL.Image").fromarray(GREY)
    (tmp_path / "a.png").write_bytes(png(LEVELS, 0))
    (tmp_path / "b.tif").write_bytes(tiff(LEVELS))
    for name in ("a.png", "b.tif"):
        np.testing.assert_array_equal(media.from_image(tmp_path / name, 1.0).pixels.values, LEVELS[::-1].T)
    for turn, name in enumerate(("g.jpg", "c.png"), 0):
        turned(tmp_path / name, 9 * turn)  # which turns nothing
    (tmp_path / "h.pgm").write_bytes(b"P5 %d %d 255 " % GREY.shape[::-1] + GREY.tobytes())
    assert media.from_image(tmp_path / "g.jpg", 1.0, alpha=1.0, beta=2.0).pixels.values.shape == GREY.T.shape
    (tmp_path / "d.tif").write_bytes(tiff(255 - GREY, photometric=0))
    with (tmp_path / "e.NPY").open("wb") as file:
        np.save(file, GREY)
    grey.save(tmp_path / "f.PNG")
    for name in ("c.png", "d.tif", "e.NPY", "f.PNG", "h.pgm"):
        read = media.from_image(tmp_path / name, 1.0, alpha=1.0, beta=201.0).pixels.values
        np.testing.assert_allclose(read, 1.0 + GREY[::-1].T)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_colours_of_print_and_film_are_no_grey_levels(mode, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new(mode, (2, 2), (90,) * (len(mode) if mode == "CMYK" else 3)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=f"expected a picture in grey; received one in {mode}; save it in grey"):
        media.from_image(tmp_path / "a.tif", 1.0)


def test_labels_of_a_coloured_map_are_read_as_the_message_says(tmp_path):
    image = pytest.importorskip("PIL.Image")
    labels = np.array([[0, 1], [2, 1]], np.uint8)
    picture = image.fromarray(labels, "P")
    picture.putpalette([200, 0, 0, 200, 90, 0, 0, 90, 200])  # red and orange have the same first channel
    path = tmp_path / "labels.png"
    picture.save(path)
    with pytest.raises(InputError, match="received colours; if they stand for materials, pass the labels, numpy") as caught:
        media.from_image(path, 1.0)
    call = caught.value.remedy.partition("labels, ")[2].partition(", or")[0]
    np.testing.assert_array_equal(eval(call, {"numpy": np, "PIL": pytest.importorskip("PIL"), "path": path}), labels)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("header", [0, 1])
def test_a_table_is_read_as_the_message_says(suffix, header, tmp_path):
    path, mark = tmp_path / f"a.{suffix}", {"csv": ",", "tsv": "\t", "txt": "  "}[suffix]
    path.write_text("\n".join(["left right".replace(" ", mark)] * header + [f"1.5{mark}2", f"3{mark}4.5"]))
    with pytest.raises(InputError, match=r"pass the array, numpy\.genfromtxt") as caught:
        media.from_image(path, 1.0)
    call = caught.value.remedy.partition("array, ")[2].partition(" with")[0].replace("skip_header=0", f"skip_header={header}")
    np.testing.assert_array_equal(eval(call, {"numpy": np, "path": path}), [[1.5, 2.0], [3.0, 4.5]])
