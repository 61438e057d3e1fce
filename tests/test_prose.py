"""The texts: spelling, one kind of English, addresses, DOIs, citations. No network is asked."""

import ast
import functools
import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

spellchecker = pytest.importorskip("spellchecker")

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = sorted([*ROOT.glob("*.md"), *BOOK.rglob("*.md")])
CODE = sorted([*(ROOT / "hybrid_lib").rglob("*.py"), *(BOOK / "_tools").glob("*.py")])
WHYS = sorted((BOOK / "expected").glob("*.json"))
BIBLIOGRAPHY = BOOK / "references.bib"

#: Words of the field, of the code, names: one a line.
KNOWN = (Path(__file__).with_name("words.txt")).read_text(encoding="utf-8").split()
DICTIONARY = spellchecker.SpellChecker(language="en")
DICTIONARY.word_frequency.load_words(KNOWN)

# American spellings of words that the book writes the British way, beside all in -ize.
AMERICAN = re.compile(
    r"(analog|anal[yz]+z(e[ds]?|ing)|artifacts?|(behavi|col|fav|hon|lab|neighb|rig|vap)or(s|ed|ing|able|ite|hoods?)?"
    r"|cancel(ed|ing)|center(s|ed|ing)?|fibers?|grays?|(label|model|travel)(ed|ing|er)|meager|skeptical|theater)"
)
WITH_Z = {"assize", "capsize", "prize", "prized", "prizes", "resize", "resized", "seize", "size", "sized", "sizes", "oversized"}


def blank(match):
    """The same lines, dots in place of the text."""
    return re.sub(r"[^\n]", "·", match.group())


def without(text, *patterns):
    for pattern in patterns:
        text = re.sub(pattern, blank, text, flags=re.MULTILINE | re.DOTALL)
    return text


MATHS = (r"\$\$.*?\$\$", r"(?<!\\)\$[^$]*\$", r":math:`[^`]*`")
ADDRESSES = (r"https?://\S+", r"\]\([^)\s]*\)", r"<[^>\n]*>")


def captions(page):
    """Header and comments of the code cells stay: captions, alternative texts. Code goes."""

    def keep(match):
        header, body = re.match(r"(```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n)?)(.*)", match.group(), re.S | re.M).groups()
        header = re.sub(r"^ *(name|width|code_prompt_show|tags): .*$|^ *[a-z]+:|^:tags:.*$|^```.*$|^---$", "", header, flags=re.M)
        comments = re.sub(r"^(?:.*?(?<!\S)# )?(.*)$", lambda m: m[1] if m[0] != m[1] else "", body, flags=re.M)
        return header + comments

    return re.sub(r"^```\{code-cell\}.*?^```$", keep, page, flags=re.MULTILINE | re.DOTALL)


def page_text(page):
    text = page.read_text(encoding="utf-8")
    return without(
        captions(text),
        r"\A---\n.*?^---\n",  # the header of the file
        r"^ *(`{3,})(?:\{(?:code-block|bibliography|automodule|eval-rst)\}|(?!\{))[^\n]*\n.*?^ *\1 *$",
        r"^\s*:[\w-]+:.*?$",  # options of a directive
        r"^\s*(?:`{3,}|:{3,})\{[^}\n]*\}",
        r"^ *% .*?$|^\([\w-]+\)=$",
        r"\{[\w:+-]+\}`[^`]*`",
        r"(`+).*?\1",
        *MATHS,
        *ADDRESSES,
    )


def docstrings(path):
    """Line and text of each docstring of a file, without signatures, formulas, examples."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            text = without(
                ast.get_docstring(node, clean=False),
                r"^ *>>>.*?(?=^\s*$|\Z)",
                r"^ *\.\. math::.*?(?=^ *\S[^\n]*\n\n|\Z|^ *$\n *(?=[A-Z]))",
                r":\w+:`[^`]*`|(`+).*?\1",
                r"^ *[\w*, ₀-₉]+ : .*?$",
                r"\\\w+(?:\{[^}\n]*\})?",
                *MATHS,
                *ADDRESSES,
            )
            yield node.body[0].lineno, text


def texts(path):
    """(line, text) pairs of a file."""
    if path.suffix == ".md":
        return [(1, page_text(path))]
    if path.suffix == ".json":
        return [(1, "\n".join(entry["why"] for entry in json.loads(path.read_text(encoding="utf-8")).values()))]
    return docstrings(path)


@functools.cache
def words(path):
    """(line, word) pairs: runs of Latin letters of three or more, not part of a formula or of a name of the code."""
    found = []
    for start, text in texts(path):
        for match in re.finditer(r"(?<![\w.\\^/@-])([A-Za-zÀ-ÿ]+(?:['’][a-z]+)?)(?![\w(=/^@])(?!\.\w)", text):
            word = match[1].replace("’", "'")
            plain = word.removesuffix("'s")
            if len(plain) > 2 and not plain.removesuffix("s").isupper() and not re.search(r"[a-zà-ÿ][A-Z]", plain):
                found.append((start + text.count("\n", 0, match.start()), plain))
    return found


def places(found):
    return "; ".join(f"{path.relative_to(ROOT)}:{line} {word}" for path, line, word in found)


@pytest.mark.parametrize("path", [*PAGES, *CODE, *WHYS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_are_spelled_as_in_the_dictionary(path):
    wrong = [(path, line, word) for line, word in words(path) if word.lower() not in DICTIONARY]
    assert not wrong, f"misspelled, or a term for tests/words.txt: {places(wrong)}"


@pytest.mark.parametrize("path", [*PAGES, *CODE, *WHYS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_english_is_british(path):
    z = re.compile(r"(iz(e|ed|er|ers|es|ing|ation|ations)|yz(e|ed|es|ing))$")
    found = [(line, word) for line, word in words(path) if word.islower()]
    wrong = [(path, line, w) for line, w in found if AMERICAN.fullmatch(w) or (z.search(w) and w not in WITH_Z)]
    assert not wrong, places(wrong)


@pytest.mark.parametrize("path", [*PAGES, *CODE], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_word_stands_twice(path):
    for start, text in texts(path):
        for match in re.finditer(r"\b([A-Za-z]{2,})[ \n]+\1\b(?!')", text):
            line = start + text.count("\n", 0, match.start())
            assert match[1] in {"had", "that"}, f"{path.relative_to(ROOT)}:{line} {match[1]} {match[1]}"


def test_the_check_finds_what_it_should(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "The cofficient $\\widehat{xqz}$ of `codd` is\nminimized [her](wrng.md), see {ref}`refx`.\n\n"
        "```{code-cell} ipython3\n---\nmystnb:\n  image:\n    alt: A grahp of u.\n---\nxyzq = 1  # a coment\n```\n"
    )
    found = words(page)
    assert [(n, w) for n, w in found if w.lower() not in DICTIONARY] == [(1, "cofficient"), (8, "grahp"), (10, "coment")]
    assert (2, "minimized") in found


def test_the_fonts_of_the_printed_book_have_every_sign():
    """Signs that TeX did not find; the table for terminals may name them."""
    for path in (*PAGES, *(one for one in CODE if one.name != "terminal.py")):
        assert not set("ᵢⱼ∮′") & set(path.read_text(encoding="utf-8")), path


def test_list_of_known_words_is_sorted_and_short():
    assert sorted(set(KNOWN)) == KNOWN
    plain = spellchecker.SpellChecker(language="en")
    assert not [word for word in KNOWN if word in plain], "the dictionary has them"


@pytest.mark.parametrize("word", ["recieve", "seperate", "occured", "homogeneus", "coeficient", "algoritm", "teh", "wich"])
def test_common_misspellings_are_not_in_the_dictionary(word):
    assert word not in DICTIONARY


# --- addresses -------------------------------------------------------------------------------------------------------

SOURCES = [*PAGES, *CODE, BIBLIOGRAPHY, ROOT / "CITATION.cff", ROOT / "_config.yml", ROOT / "pyproject.toml"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_addresses_are_https_and_well_formed(path):
    for address in re.findall(r"[a-z]+://[^\s<>\"'`{}|\\^\])]+", path.read_text(encoding="utf-8")):
        parts = urlsplit(address.rstrip(".,;:"))
        if parts.scheme == "file" or parts.hostname in {"localhost", "127.0.0.1"}:
            continue
        assert parts.scheme == "https", address
        assert re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", parts.hostname or ""), address
        assert "//" not in parts.path and parts.username is None, address


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.stem)
def test_files_that_the_front_pages_link_to_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert "://" in target or (ROOT / target).exists(), target


# --- bibliography ----------------------------------------------------------------------------------------------------


def entries():
    """Fields of each entry of the bibliography, by key."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", text, flags=re.MULTILINE | re.DOTALL):
        assert key not in found, f"{key} stands twice"
        found[key] = {"kind": kind, **dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", body, flags=re.MULTILINE))}
    return found


def cited():
    text = "\n".join(page.read_text(encoding="utf-8") for page in BOOK.rglob("*.md"))
    return [key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")]


def test_bibliography_is_read_whole():
    assert len(entries()) == BIBLIOGRAPHY.read_text(encoding="utf-8").count("\n@")
    assert all({"author", "title", "year"} <= fields.keys() for fields in entries().values())


def test_dois_are_well_formed_and_stand_once():
    dois = {key: fields["doi"] for key, fields in entries().items() if "doi" in fields}
    for key, doi in dois.items():
        assert re.fullmatch(r"10\.\d{4,9}/[A-Za-z0-9.()/:;_<>+-]*[A-Za-z0-9)]", doi), f"{key}: {doi}"
    assert max(Counter(doi.lower() for doi in dois.values()).values()) == 1


def test_every_entry_can_be_found():
    for key, fields in entries().items():
        assert {"doi", "url", "isbn"} & fields.keys(), f"{key}: neither DOI nor address"
        if fields["kind"] == "article":
            assert "doi" in fields, f"{key}: an article has a DOI"


def test_every_key_cited_exists():
    assert cited() and not set(cited()) - entries().keys()
