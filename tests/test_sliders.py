"""A slider is one piece of html: every frame inside, one of them shown, the control named, nothing loaded."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from hybrid_lib.bookkit.sliders import slider
from hybrid_lib.errors import InputError

ALT = 'A line from the origin, "steep" for k > 1 & flat below.'
VOID = {"img", "input", "br"}


def draw(k, size=(2.0, 1.0)):
    figure, axis = plt.subplots(figsize=size)
    axis.plot([0, 1], [0, k])
    axis.set(ylim=(0, 3))
    return figure


class Page(HTMLParser):
    """Start tags with their attributes, text outside of noscript, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "noscript" not in self.open:
            self.text.append(data)

    def all(self, tag):
        return [attrs for found, attrs in self.tags if found == tag]


@pytest.fixture(scope="module")
def made():
    return slider(draw, [0.5, 1, 2], name="k <1>", alt=ALT, labels=("1/2", "one", "2"), start=1)


def test_control_has_a_name_a_value_and_a_text(made):
    page = Page(made._repr_html_())
    (control,) = page.all("input")
    assert (control["type"], control["min"], control["max"], control["step"], control["value"]) == (
        "range", "0", "2", "1", "1",
    )  # fmt: skip
    assert control["aria-valuetext"] == "one" and page.text == ["k <1>", "one"]
    # the control lies in the label, whose only text is the name
    assert re.search(r"<label[^>]*><span[^>]*>k &lt;1&gt;</span><input [^>]*></label>", made._repr_html_())


def test_frames_lie_in_the_page_and_only_the_first_choice_is_shown(made):
    images = Page(made._repr_html_()).all("img")
    assert [image["data-value"] for image in images] == ["1/2", "one", "2"]
    assert [image["style"].split(";")[0] for image in images] == ["display:none", "display:block", "display:none"]
    assert all(image["alt"] == ALT for image in images)
    for image, png in zip(images, made.frames, strict=True):
        head, data = image["src"].split(",")
        assert head == "data:image/png;base64" and base64.b64decode(data) == png
        assert (image["width"], image["height"]) == ("200", "100")
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.size == made.size == (200, 100)


def test_nothing_is_loaded_and_nothing_has_an_id(made):
    text = made._repr_html_()
    assert "http" not in text and "<script" not in text and "<link" not in text
    assert not any("id" in attrs for _, attrs in Page(text).tags), "two sliders on a page would clash"


def test_without_html_and_without_scripts_the_chosen_frame_stands_alone(made):
    assert made._repr_png_() == made.frames[1]
    assert "the picture stays at k &lt;1&gt; = one." in made._repr_html_()
    assert repr(made) == "slider over k <1>: 1/2, one, 2"


def test_frames_are_small_and_keep_their_colours():
    (first, *_), size = slider(draw, [1, 2], name="k", alt=ALT, dpi=200).frames, (400, 200)
    drawn = io.BytesIO()
    figure = draw(1)
    figure.savefig(drawn, dpi=200)
    plt.close(figure)
    with Image.open(drawn) as full, Image.open(io.BytesIO(first)) as few:
        assert few.size == full.size == size
        difference = np.abs(np.asarray(full.convert("RGB"), int) - np.asarray(few.convert("RGB"), int))
    assert len(first) < drawn.getbuffer().nbytes and difference.max() <= 48 and difference.mean() < 0.5


def test_axes_stand_where_those_of_the_first_frame_stand():
    places = []

    def wide_label(k):
        figure = draw(k)
        figure.set_layout_engine("constrained")
        figure.axes[0].set(ylabel="\n".join("high" * k))
        figure.canvas.mpl_connect("draw_event", lambda event: places.append(figure.axes[0].get_position().bounds))
        return figure

    slider(wide_label, [1, 2, 3], name="k", alt=ALT)
    assert len(set(places[-3:])) == 1


def test_a_colour_bar_keeps_its_place():
    def picture(k):
        figure, axis = plt.subplots(figsize=(2, 1), layout="constrained")
        figure.colorbar(axis.imshow(np.full((2, 2), k), vmin=0, vmax=3), ax=axis)
        return figure

    assert len(slider(picture, [1, 2], name="k", alt=ALT).frames) == 2


def test_the_same_values_give_the_same_bytes():
    one, other = (slider(draw, [1, 2], name="k", alt=ALT) for _ in range(2))
    assert one._repr_html_() == other._repr_html_()


def test_no_figure_stays_open():
    before = plt.get_fignums()
    slider(draw, [1, 2], name="k", alt=[ALT, ALT + " The second."])
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"values": [1]}, "values of a slider: expected at least 2; received 1; show a single value"),
        ({"labels": ["a"]}, "labels of a slider: expected 2, as values; received 1; pass one for each value"),
        ({"alt": [ALT]}, "descriptions of a slider: expected 2, as values; received 1; pass one for"),
        ({"alt": "A line."}, "description of a slider: expected at least 30 characters; received 'A line.'; say"),
        ({"start": 2}, "start of a slider: expected an index from 0 to 1; received 2; pass the first"),
        ({"start": -1}, "start of a slider: expected an index from 0 to 1; received -1; pass the first"),
        ({"limit": 500}, r"html of a slider: expected at most 500 bytes; received [\d,]+; fewer values"),
        ({"draw": lambda k: None}, "draw of a slider: expected a matplotlib Figure; received NoneType; let draw"),
        (
            {"draw": lambda k: draw(k, (2.0, k))},
            "frames of a slider: expected one size in pixels; received 200 × 100, 200 × 200; give all",
        ),
    ],
)
def test_messages(change, message):
    arguments = {"draw": draw, "values": [1, 2], "name": "k", "alt": ALT} | change
    with pytest.raises(InputError, match=message):
        slider(arguments.pop("draw"), arguments.pop("values"), **arguments)
    plt.close("all")
