"""Make the printed book, _build/latex/hybrid_lib.pdf, from the outputs in the execution cache.

    python book/_tools/pdf.py [--check | --packages]

Sphinx writes LaTeX, TeX sets it; then the log is read. A sign that no font has, a reference that leads nowhere or an
error of TeX fails the build. Lines that stick out are listed: they are for the author to break.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LATEX = ROOT / "_build" / "latex"
NAME = "hybrid_lib"
PACKAGES = "texlive-xetex texlive-latex-extra texlive-fonts-recommended latexmk fonts-cmu fonts-dejavu-core fonts-stix"
FONTS = ("cmunrm.ttf", "DejaVuSansMono.ttf", "STIXGeneral-Regular.otf")
WIDE = 12.0  # points; what sticks out less is not seen


def missing() -> list[str]:
    """What this machine lacks: programs, and fonts as TeX finds them."""
    lacks = [program for program in ("xelatex", "latexmk", "makeindex") if shutil.which(program) is None]
    if shutil.which("fc-list") is None:
        return [*lacks, "fc-list"]
    fonts = subprocess.run(["fc-list", ":", "file"], capture_output=True, text=True, check=True).stdout
    return lacks + [font for font in FONTS if font not in fonts]


def faults(log: str) -> list[str]:
    """The lines of TeX's log that must not be there, each once."""
    patterns = (
        r"^! .*",
        r"^Missing character: .*",
        r"^LaTeX Warning: (?:Hyper )?[Rr]eference .* undefined.*",
        r"^LaTeX Warning: Citation .* undefined.*",
        r"^LaTeX Warning: Label .* multiply defined.*",
        r"^LaTeX Font Warning: Font shape .* undefined.*",
    )
    found = (match for pattern in patterns for match in re.findall(pattern, log, flags=re.MULTILINE))
    return list(dict.fromkeys(found))


def wide(log: str, tex: list[str]) -> list[str]:
    """Lines of text or formulas that stick out, with what stands there in the source."""
    pattern = r"Overfull \\hbox \(([\d.]+)pt too wide\)[^\n]*? lines? (\d+)"
    places = {int(line): float(points) for points, line in re.findall(pattern, log) if float(points) > WIDE}
    return [f"{points:.0f} pt, line {line}: {' '.join(tex[max(0, line - 3) : line])[:150]}" for line, points in places.items()]


def run(*command: str, cwd: Path = ROOT) -> int:
    """Run a command; its output goes to ours."""
    return subprocess.run(command, cwd=cwd, check=False).returncode


def main() -> None:
    """Build, set, and read the log."""
    if "--packages" in sys.argv[1:]:  # what Debian and Ubuntu call the parts of TeX
        print(PACKAGES)
        return
    if lacks := missing():
        sys.exit(f"pdf: not found: {', '.join(lacks)}. On Debian or Ubuntu: apt-get install --no-install-recommends {PACKAGES}")
    if "--check" in sys.argv[1:]:  # whether TeX is here, before the chapters run
        return
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    if run(jupyter_book, "build", ".", "--builder", "latex", "-W", "-n", "--keep-going"):
        shutil.rmtree(ROOT / "_build" / ".doctrees", ignore_errors=True)
        sys.exit(1)
    for part in LATEX.glob(f"{NAME}.*"):  # what a run that was interrupted leaves stops the next
        if part.suffix != ".tex":
            part.unlink()
    latexmk = ("latexmk", "-xelatex", "-silent", "-interaction=nonstopmode", f"{NAME}.tex")
    status = run(*latexmk, cwd=LATEX)
    log_file = LATEX / f"{NAME}.log"
    if not log_file.is_file():
        sys.exit("pdf: TeX wrote no log")
    log = re.sub(r"(?<=[^\n]{79})\n", "", log_file.read_text(encoding="utf-8", errors="replace"))  # TeX folds its lines
    for line in wide(log, (LATEX / f"{NAME}.tex").read_text(encoding="utf-8").split("\n")):
        print(f"pdf: sticks out by {line}")
    found = faults(log)
    if found or status:
        sys.exit("\n".join(["pdf: TeX's log says:", *found[:40], f"pdf: see {log_file}"]))
    print(f"The printed book: file://{LATEX / NAME}.pdf")


if __name__ == "__main__":
    main()
