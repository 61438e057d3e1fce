r"""Sphinx extension: how the printed book looks.

The builder's own theme is set aside for Sphinx's class with the fonts and measures below. Text is set in Computer Modern,
as the formulas are, code in DejaVu Sans Mono, both of which carry Greek; a sign that the font at hand lacks is taken from
one that has it, letter by letter, so that no sign is dropped. book/_tools/pdf.py looks in TeX's log whether that holds.
Cells that a page hides are left out; solutions stand open below their exercises.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import number_reference
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import exercise_latex_number_reference

# Signs of docstrings and output that Computer Modern or DejaVu Sans Mono lack. A new one shows up as an error of `make pdf`.
SIGNS = "ˣᵀ″⁰⁴⁵⁶⁷⁸⁹⁻⁺ⁿ₀₁₂₃₄ₕₖₙℓℝℤ→↦⇒∀∂∃∇∈∎−∓∘√∞∩∪∫≈≠≡≤≥≪≫⊂⊕⊗⊥⋅⌊⌋⟨⟩■□○●◐✓✗𝓔𝔍"
STANDINS = {"✅": "✓", "❌": "✗"}  # of the table of execution times
DRAWN = {sign: sign for sign in SIGNS} | STANDINS

FONTS = r"""
\setmainfont{cmunrm.ttf}[BoldFont=cmunbx.ttf, ItalicFont=cmunti.ttf, BoldItalicFont=cmunbi.ttf]
\setsansfont{cmunss.ttf}[BoldFont=cmunsx.ttf, ItalicFont=cmunsi.ttf, BoldItalicFont=cmunso.ttf]
\setmonofont{DejaVuSansMono.ttf}[Scale=0.83, BoldFont=DejaVuSansMono-Bold.ttf,
  ItalicFont=DejaVuSansMono.ttf, ItalicFeatures={FakeSlant=0.2},
  BoldItalicFont=DejaVuSansMono-Bold.ttf, BoldItalicFeatures={FakeSlant=0.2}]
\newfontfamily\signsA{DejaVuSans.ttf}[Scale=0.83, BoldFont=DejaVuSans-Bold.ttf,
  ItalicFont=DejaVuSans.ttf, ItalicFeatures={FakeSlant=0.2},
  BoldItalicFont=DejaVuSans-Bold.ttf, BoldItalicFeatures={FakeSlant=0.2}]
\newfontfamily\signsB{STIXGeneral-Regular.otf}[BoldFont=STIXGeneral-Bold.otf,
  ItalicFont=STIXGeneral-Italic.otf, BoldItalicFont=STIXGeneral-BoldItalic.otf]
"""

PREAMBLE = r"""
\usepackage{newunicodechar}
\makeatletter
% A sign in the font at hand, or else in the first that has it.
\newcommand\hl@sign[1]{\iffontchar\font#1 \char#1 \else{\signsA\iffontchar\font#1 \char#1 \else\signsB\char#1 \fi}\fi}
SIGNS
\makeatother
\addto\captionsenglish{\renewcommand{\contentsname}{Contents}}
\setcounter{tocdepth}{1}
% Code on grey, what it prints beside a line.
\newenvironment{sphinxVerbatimInput}%
  {\sphinxsetup{pre_border-width=0pt, pre_background-TeXcolor={HTML}{F4F4F4}, pre_padding=4pt}}{}
\newenvironment{sphinxVerbatimOutput}%
  {\sphinxsetup{pre_border-width=0pt, pre_border-left-width=1.2pt, pre_border-TeXcolor={HTML}{B0B0B0},
    pre_background-TeXcolor={HTML}{FFFFFF}, pre_padding=4pt}}{}
% Theorems, exercises, solutions and notes without a frame, so that code inside them may go on overleaf. A proof has no title.
\makeatletter
\newcommand\hl@box[1]{\par\addvspace{\medskipamount}%
  \ifx\sphinxAtStartPar#1\else%
    \noindent{\sffamily\bfseries\color{TitleColor}#1\hspace{0.6em}\leaders\hrule height 0.6ex depth -0.53ex\hfill\kern0pt}%
    \par\nobreak\smallskip\fi}
\newcommand\hl@end{\par\addvspace{\medskipamount}}
\renewenvironment{sphinxnote}[1]{\hl@box{#1}}{\hl@end}
\renewenvironment{sphinxhint}[1]{\hl@box{#1}}{\hl@end}
\renewenvironment{sphinximportant}[1]{\hl@box{#1}}{\hl@end}
\renewenvironment{sphinxtip}[1]{\hl@box{#1}}{\hl@end}
\renewenvironment{sphinxwarning}[1]{\hl@box{#1}}{\hl@end}
\renewenvironment{sphinxseealso}[1]{\hl@box{#1}}{\hl@end}
% One chapter of that name is enough: the list of works stands on its page.
\renewenvironment{sphinxthebibliography}[1]{\begingroup\def\chapter##1##2{}\begin{thebibliography}{#1}}{\end{thebibliography}\endgroup}
% Pages end ragged: a break before a section must not be dearer to TeX than a full page.
\@secpenalty=0
% Tables in smaller letters, no column narrower than a word.
\g@addto@macro\sphinxattablestart{\footnotesize}
\g@addto@macro\sphinxatlongtablestart{\footnotesize}
\setlength\tymin{38pt}
\renewcommand*\l@section{\@dottedtocline{1}{1.5em}{2.9em}}
\makeatother
\emergencystretch=2em
"""

ELEMENTS = {
    "papersize": "a4paper",
    "pointsize": "10pt",
    "extraclassoptions": "openany,oneside",
    "fontpkg": FONTS,
    "fncychap": "",
    "figure_align": "H",
    "printindex": r"\footnotesize\raggedright\printindex",
    "sphinxsetup": "hmargin=24mm, vmargin={26mm,28mm}, verbatimforcewraps, verbatimmaxunderfull=2, "
    "TitleColor={RGB}{20,40,80}, InnerLinkColor={RGB}{20,70,140}, OuterLinkColor={RGB}{20,70,140}",
    "preamble": PREAMBLE.replace(
        "SIGNS", "\n".join(f'\\newunicodechar{{{sign}}}{{\\hl@sign{{"{ord(shown):04X}}}}}' for sign, shown in DRAWN.items())
    ),
}


def settings(app: Sphinx, config: Config) -> None:
    """Handler of ``config-inited``, after that of the builder's own theme."""
    config.latex_engine = "xelatex"
    config.latex_theme = "manual"
    config.latex_use_xindy = False
    config.latex_domain_indices = False
    config.latex_elements = dict(ELEMENTS)


class Size(SphinxPostTransform):
    """Pictures at four fifths of the size they have on the screen, so that their letters are not larger than the text's."""

    default_priority = 900
    builders = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Set the scale where the source sets no size; a picture is never wider than the text."""
        for node in self.document.findall(nodes.image):
            if not {"width", "height", "scale"} & set(node.attributes):
                node["scale"] = 80


class ExerciseLinks(SphinxPostTransform):
    """References to exercises of other chapters: sphinx-exercise writes labels for them that nothing defines."""

    default_priority = 900
    builders = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Name the exercise by the number that it has on its page, and point to the label that it has there."""
        exercises = getattr(self.env, "sphinx_exercise_registry", {})
        for node in list(self.document.findall(number_reference)):
            label = (node.get("refid") or node.get("refuri", "")).rpartition("#")[2]
            if label in exercises and "title" in node:  # within a chapter they are resolved already
                numbers = self.env.toc_fignumbers[exercises[label]["docname"]]["exercise"][label]
                link = exercise_latex_number_reference(refid=label)
                link += nodes.Text(node["title"] % ".".join(map(str, numbers)))
                node.replace_self(link)


class OwnNumbers(SphinxPostTransform):
    r"""Formulas of docstrings that carry a number of their own: LaTeX takes no ``\tag`` inside ``split``."""

    default_priority = 900
    builders = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Write the environment here, without ``split``."""
        for node in list(self.document.findall(nodes.math_block)):
            text = node.astext().strip()
            if "\\tag{" in text and "\\\\" not in text and not node.get("nowrap"):
                node["nowrap"] = True
                node.children = [nodes.Text(f"\\begin{{equation*}}\n{text}\n\\end{{equation*}}")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point for Sphinx."""
    app.connect("config-inited", settings, priority=900)
    for transform in (Size, ExerciseLinks, OwnNumbers):
        app.add_post_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
