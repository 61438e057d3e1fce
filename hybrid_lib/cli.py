r"""Command line: ``hybrid solve``, ``list``, ``run``, ``show``, ``reproduce``, ``ledger``; the same as ``python -m hybrid_lib``.

Exit status 0: done; 1: a run diverged or was cut short (what was computed is kept), or the ledger does not hold; 2: the
input, a file or a folder cannot be used, one line on standard error says why; 128 + n: ended by signal n.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from hybrid_lib import __version__, processes, terminal
from hybrid_lib.commands import replication, solve
from hybrid_lib.commands.start import use_float64
from hybrid_lib.errors import InputError, rounded
from hybrid_lib.terminal import Progress, complain, say


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line: what, expected, received, remedy."""

    def error(self, message: str):
        raise InputError(
            "command line", f"the usage `{self.usage or self.prog + ' --help'}`", message, "see --help"
        )

    def _print_message(self, message: str, file=None):
        say(message, end="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    with terminal.session():
        return _main(arguments)


def command() -> None:
    """``hybrid``: :func:`main` and the end of the process; at once after a signal, when a program of XLA may still run."""
    status = main()
    if status > 128:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _main(arguments: Sequence[str] | None) -> int:
    options = None
    try:
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:
            _refuse(options.command, unknown[0])
        return options.action(options)
    except InputError as error:
        return _end(str(_in_options(error)), 2)
    except KeyboardInterrupt as error:
        number = terminal.signal_of(error)
        how = "interrupted" if number is signal.SIGINT else f"ended by {number.name}"
        return _end(f"{how}{_kept(options)}", 128 + number)
    except OSError as error:
        place = error.filename or "a file"
        return _end(str(InputError(place, "one that can be used", error.strerror or error, "choose another")), 2)
    except (MemoryError, RuntimeError) as error:
        known = _known_failure(error)
        if known is None:
            raise
        return _end(str(known), 2)


def _in_options(error: InputError) -> InputError:
    """The same where arguments of Python are the options of the command."""
    what = re.sub(r"^(?=(out|resume)\b)", "--", re.sub(r"^setting (?=\S)", "--set ", error.what))
    remedy = re.sub(r"\bout=", "--out", error.remedy).replace("resume=True", "--resume")
    return InputError(what, error.expected, error.received, remedy)


def _end(line: str, status: int) -> int:
    """The end of a command that went wrong, and of the other processes of a run, if there are some; one of them says why."""
    processes.fail(f"hybrid: {line}", status)
    complain(f"hybrid: {line}")
    return status


def _kept(options) -> str:
    """How to go on with what was stopped."""
    if getattr(options, "command", None) == "reproduce" and not options.list:
        return "; the same command goes on"
    out = getattr(options, "out", None)
    if getattr(options, "command", None) == "solve":
        return "; the same command with --replace goes on" if options.network else ""
    return f"; {out} continues with --resume" if out is not None and os.path.exists(out / "config.json") else ""


def _refuse(command: str, option: str) -> None:
    """Complain about an option that the command does not have, and name the one that was meant."""
    known = [text for action in _commands()[command]._actions for text in action.option_strings]
    near = difflib.get_close_matches(option.split("=")[0], known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"see hybrid {command} --help"
    raise InputError("command line", f"the options of `hybrid {command} --help`", option, remedy)


def _known_failure(error: Exception) -> InputError | None:
    """What the machine could not do, in one line; None for an error of the program."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return InputError("memory", "sizes that fit", text, "fewer points, narrower layers or fewer seeds")
    return None


def _commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by name."""
    actions = _parser()._actions
    return next(a.choices for a in actions if isinstance(a, argparse._SubParsersAction))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hybrid", description="Hybrid PINN multiscale solver: run the paper's experiments.")
    parser.add_argument("--version", action="version", version=f"hybrid_lib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    listing = commands.add_parser("list", help="experiments, methods, networks, optimisers, scales, settings")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(action=_list)

    run = commands.add_parser("run", help="one run or an ensemble of seeds")
    run.add_argument("experiment", metavar="EXPERIMENT", help="see `hybrid list`")
    run.add_argument("--method", default="hybrid", help="hybrid (default) or pinn")
    run.add_argument("--network", help="ms (default with adam), mlp, two-scale (default with gauss-newton) or windowed")
    run.add_argument("--coupling", help="averaged (2.10), the default, averaged-both (2.16), or defect")
    run.add_argument("--optimiser", default="adam", help="adam (default), or gauss-newton (float64, quick scale)")
    run.add_argument("--scale", default="quick", help="quick (default), laptop or paper")
    run.add_argument("--seed", type=int, nargs="+", default=[0], metavar="N", help="one seed or several")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a setting, e.g. training.steps=500; `hybrid list` names them",
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="run directory; needed to resume")
    run.add_argument("--resume", action="store_true", help="continue the run in --out")
    run.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop before this; resume later")
    run.add_argument("--devices", type=int, metavar="N", help="devices to use (default: all)")
    run.add_argument("--distributed", action="store_true", help="one of several processes; Slurm, Open MPI, Kubernetes say which")
    run.add_argument("--coordinator", metavar="HOST:PORT", help="of the first process, where nothing says so by itself")
    run.add_argument("--processes", type=int, metavar="N", help="how many, with --coordinator")
    run.add_argument("--process", type=int, metavar="I", help="which of them this is, with --coordinator: 0 to N - 1")
    run.add_argument("--forecast", action="store_true", help="only say what memory and time it takes")
    run.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    run.set_defaults(action=_run)

    show = commands.add_parser("show", help="what a run has found, from its folder")
    show.add_argument("run", type=Path, metavar="DIR", help="what --out named")
    show.add_argument("--json", action="store_true", help="print one JSON object on standard output, as run --json does")
    show.set_defaults(action=_show)
    solve.add_to(commands)
    replication.add_to(commands)
    return parser


def _list(options) -> int:
    from hybrid_lib import experiments
    from hybrid_lib.config import CHOICES, FIELDS, FIXED

    content = {
        "experiments": {name: entry[2] for name, entry in experiments.EXPERIMENTS.items()},
        "methods": list(experiments.METHODS),
        "networks": list(experiments.NETWORKS),
        "couplings": list(CHOICES["coarse.coupling"]),
        "formulations": list(CHOICES["formulation"]),
        "optimisers": list(CHOICES["training.optimiser"]),
        "scales": list(experiments.SCALES),
        "settings": {path: item.metadata["words"] for path, item in FIELDS.items() if path not in FIXED},
    }
    if options.json:
        say(json.dumps(content))
        return 0
    for title, names in content.items():
        say(f"{title}:")
        width = max(16, 2 + max(map(len, names)))
        for name in names:
            say(f"  {name:<{width}}{names[name] if isinstance(names, dict) else ''}".rstrip())
    return 0


def _settings(options) -> dict[str, str]:
    settings = {}
    for item in options.set:
        path, equals, value = item.partition("=")
        if not equals:
            raise InputError("--set", "PATH=VALUE", repr(item), "for example --set training.steps=500")
        settings[path.strip()] = value.strip()
    if options.coupling is not None:
        if options.method == "pinn":
            raise InputError("--coupling", "--method hybrid", "--method pinn", "leave out --coupling: there is none")
        settings["coarse.coupling"] = options.coupling
    return settings


def _run(options) -> int:
    if options.resume and options.out is None:
        raise InputError("--resume", "an --out directory", "no --out", "add --out DIR")
    if options.time_limit is not None and not options.time_limit > 0:
        raise InputError("--time-limit", "seconds > 0", options.time_limit, "leave it out for no limit")
    joined = (options.coordinator, options.processes, options.process)
    if options.distributed:
        processes.distributed(*joined)
    elif joined != (None,) * 3:
        raise InputError("command line", "--distributed beside --coordinator, --processes, --process", "none", "add it")
    from hybrid_lib import experiments

    use_float64()  # the command's choice; a run's own dtype is in its configuration
    settings = _settings(options)
    config = experiments.configuration(
        options.experiment, options.method, options.network, options.scale, options.optimiser,
        settings.get("formulation", "strong"),
    )  # fmt: skip
    config = experiments.with_settings(config, settings)
    if options.forecast and not processes.is_coordinator():
        return 0
    if options.forecast:
        return _forecast(config, options)
    quiet = options.json or not processes.is_coordinator()
    progress = Progress(config.training.steps, quiet)
    with progress as callbacks:
        result = experiments.run(
            config,
            tuple(options.seed),
            out=options.out,
            resume=options.resume,
            time_limit=options.time_limit,
            callbacks=callbacks,
            announce=None if options.json else progress.say,
            devices=options.devices,
        )
    if processes.is_coordinator():
        say(json.dumps(result.summary) if options.json else repr(result))
    return 0 if all(seed["status"] in ("completed", "converged") for seed in result.summary["seeds"]) else 1


def _forecast(config, options) -> int:
    """What a run would take: memory by its shapes, time by a few steps that are not kept."""
    from hybrid_lib import experiments
    from hybrid_lib.experiments.sizes import check_memory
    from hybrid_lib.experiments.summary import duration
    from hybrid_lib.methods.points import work

    problem, steps = experiments.problem_of(config), config.training.steps
    check_memory(problem, config, len(options.seed))
    memory = experiments.forecast(problem, config, len(options.seed))
    seconds = work(config.sampling.grow_after, 0, steps) * experiments.seconds_of_a_step(problem, config, tuple(options.seed))
    found = {"memory_bytes": round(memory.total), "largest": memory.largest, "steps": steps, "forecast_seconds": seconds}
    gigabytes = rounded(memory.total / 1e9)
    text = f"about {gigabytes} GB, most of it for {memory.largest}; about {duration(seconds)} for {steps:,} steps"
    say(json.dumps(found) if options.json else text)
    return 0


def _show(options) -> int:
    from hybrid_lib import experiments

    use_float64()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = experiments.load(options.run)
    for one in told:
        complain(f"hybrid: {one.message}")
    say(json.dumps(result.summary) if options.json else repr(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
