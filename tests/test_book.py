"""The chapters as files: sources and notebooks agree, figures are described, what is compared is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import hybrid_lib
from hybrid_lib.bookkit.notebook import expectations

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("api/*.md")])
CHAPTERS = [page for page in PAGES if "kernelspec:" in page.read_text(encoding="utf-8")]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def notebook(chapter):
    return nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)


def code_cells(chapter):
    return [cell for cell in notebook(chapter).cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def shows_image(cell):
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def test_there_are_chapters_and_each_notebook_has_a_source():
    assert CHAPTERS
    assert sorted(BOOK.glob("*.ipynb")) == [chapter.with_suffix(".ipynb") for chapter in CHAPTERS]


@each_chapter
def test_notebook_is_in_sync_with_its_source(chapter):
    source, made = jupytext.read(chapter), notebook(chapter)

    def content(cell):
        return cell.cell_type, cell.source, json.dumps(cell.metadata, sort_keys=True)

    assert list(map(content, made.cells)) == list(map(content, source.cells)), "run: make notebooks"
    assert made.metadata["jupytext"]["formats"] == source.metadata["jupytext"]["formats"] == "md:myst,ipynb"
    assert made.metadata["kernelspec"] == source.metadata["kernelspec"]


@each_chapter
def test_source_is_as_jupytext_writes_it(chapter):
    form = {"extension": ".md", "format_name": "myst"}
    text = chapter.read_text(encoding="utf-8")
    assert jupytext.writes(jupytext.reads(text, fmt=form), fmt=form) == text, "run: make notebooks"


@each_chapter
def test_every_cell_was_run_in_order_and_none_wrote_to_stderr(chapter):
    cells = [cell for cell in code_cells(chapter) if cell.source]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run: make notebooks"
    for cell in cells:
        assert all(output.get("name") != "stderr" for output in cell.outputs), cell.source
        assert all(output.output_type != "error" for output in cell.outputs), cell.source


@each_chapter
def test_checked_cells_have_something_to_compare(chapter):
    checked = [cell for cell in code_cells(chapter) if "nbval-check-output" in tags(cell)]
    assert checked, "a chapter checks at least one number"
    for cell in checked:
        # text only: pictures, and the records that glue leaves, are not for comparing
        assert cell.execution_count is not None and cell.outputs, cell.source
        assert all(output.output_type == "stream" and output.text for output in cell.outputs), cell.source


@each_chapter
def test_every_figure_has_alt_text_a_caption_and_a_name(chapter):
    for cell in code_cells(chapter):
        if shows_image(cell):
            mystnb = cell.metadata.get("mystnb", {})
            image, figure = mystnb.get("image", {}), mystnb.get("figure", {})
            assert len(image.get("alt", "")) >= 30, f"alt text missing or too short:\n{cell.source}"
            assert figure.get("caption"), f"caption missing:\n{cell.source}"
            assert figure.get("name", "").startswith("fig-"), f"name fig-... missing:\n{cell.source}"


@each_chapter
def test_every_slider_is_described_small_and_complete(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            text = output.get("data", {}).get("text/html", "")
            if 'type="range"' not in text:
                continue
            # html is no image, so the descriptions stand in it; caption and name are the figure's
            alts, labels = (re.findall(rf'<img [^>]*{name}="([^"]*)"', text) for name in ("alt", "data-value"))
            assert len(alts) == len(labels) >= 2 and all(len(alt) >= 30 for alt in alts), cell.source
            assert text.count("display:block;max-width") == 1, "one frame is shown before the slider moves"
            assert re.search(r"<label[^>]*><span[^>]*>[^<]+</span><input ", text), "the control has a visible name"
            start = int(re.search(r' value="(\d+)"', text).group(1))
            assert f'aria-valuetext="{labels[start]}"' in text
            assert not re.search(r"""(?:src|href)=["'](?!data:)""", text), "nothing is loaded from elsewhere"
            assert len(text) < 600_000 and "image/png" in output["data"], "a picture for where html is not shown"


@each_chapter
def test_chapter_says_what_it_teaches_what_it_costs_and_what_to_remember(chapter):
    first, *_, last = re.split(r"^##? ", chapter.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert re.search(r"^\*\*Objectives\.\*\* .*\n\n- ", first, flags=re.MULTILINE), "objectives"
    cost = re.search(r"^\*Runs in [^*]+\*$", first, flags=re.MULTILINE)
    assert cost and "GPU" in cost.group(), "what it costs to run, and what a GPU saves"
    assert last.startswith("What to remember\n") and "\n|---|" in last, "a table at the end"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_included_picture_has_alt_text(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"!\[\s*\]\(", text), "![](...) without alt text"
    directives = r"^(```|:::)\{(?:figure|image)\}(.*?)^\1"
    for _, directive in re.findall(directives, text, flags=re.MULTILINE | re.DOTALL):
        assert ":alt:" in directive, directive


@each_chapter
def test_first_cell_fetches_this_version_from_the_one_repository_on_colab(chapter):
    first = code_cells(chapter)[0]
    assert tags(first) == ["hide-cell"]
    assert f'"{CONFIG["repository"]["url"]}", "v{hybrid_lib.__version__}"' in first.source
    assert first.source == code_cells(CHAPTERS[0])[0].source, "the first cell is the same in every chapter"


def test_repository_url_of_the_package_is_that_of_the_book():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert package["project"]["urls"]["Repository"] == CONFIG["repository"]["url"]


@pytest.mark.parametrize("file", sorted((BOOK / "expected").glob("*.json")), ids=lambda path: path.stem)
def test_expected_values_belong_to_a_chapter_and_state_a_reason(file):
    assert file.stem in {chapter.stem for chapter in CHAPTERS}
    expectations(file.stem, BOOK / "expected")
    streams = (output for cell in code_cells(BOOK / f"{file.stem}.md") for output in cell.outputs)
    printed = "".join(output.get("text", "") for output in streams)
    for key in json.loads(file.read_text(encoding="utf-8")):
        assert re.search(rf"^{re.escape(key)} ok: ", printed, flags=re.MULTILINE), f"{key} is never checked"


def test_table_of_contents_names_every_page_with_its_extension():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry for part in toc["parts"] for entry in part["chapters"]]
    below = [section for entry in entries for section in entry.get("sections", ())]
    files = [toc["root"], *(entry["file"] for entry in [*entries, *below])]
    assert sorted(files) == sorted(page.relative_to(ROOT).as_posix() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_proofs_fold_by_the_script_of_the_book(page):
    # sphinx-togglebutton stops at a proof, which has no title, and leaves every later solution of the page open
    assert not re.search(r"\{prf:proof\}[^\n]*\n:class: dropdown", page.read_text(encoding="utf-8")), "write `:class: folded`"
