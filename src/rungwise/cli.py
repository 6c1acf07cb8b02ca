"""The command `rungwise`. What it is given becomes the arguments of `tune`; it decides nothing."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import msgspec

from rungwise import mirror
from rungwise.bench.board_command import budget
from rungwise.bench.command import bench
from rungwise.bench.coverage_command import coverage
from rungwise.control import Request, ask, is_paused
from rungwise.conversion import as_space
from rungwise.core import SCHEDULERS
from rungwise.core.criteria import RANKINGS
from rungwise.core.promotion import PROMOTIONS
from rungwise.errors import InputError, suggestion
from rungwise.executors.command import Command
from rungwise.executors.devices import from_text
from rungwise.executors.named import NAMES
from rungwise.forecast import forecast
from rungwise.hold import held
from rungwise.known import budget_in_words
from rungwise.loading import NamedFunction, load_attribute
from rungwise.log import StudyError
from rungwise.metrics import SCORES
from rungwise.options import RunOptions
from rungwise.page.command import report
from rungwise.paths import real_path
from rungwise.plot import FIGURES, OPTUNA
from rungwise.report.export import export as export_study
from rungwise.report.live import result_elsewhere
from rungwise.report.page import write_figures
from rungwise.report.result import next_step, no_result, queued, refit_failure, result, to_go_on
from rungwise.report.stream import Stream
from rungwise.report.tables import drawn, enqueued, rungs_table, summary
from rungwise.report.workers import workers_table
from rungwise.run import Function, check_function, note_begun, run, taken_back, tune
from rungwise.search import SearcherName
from rungwise.space import Space
from rungwise.sqlite import salvage as salvage_study
from rungwise.study import Study
from rungwise.summary import broken_off
from rungwise.trust import Named, wanting
from rungwise.version import __version__
from rungwise.whatif import changed
from rungwise.words import ENCODE_ERRORS, counted, shown, shown_json, shown_lines

F = TypeVar("F", bound=Callable[..., object])

SETTINGS = "rungwise.toml"
IN_SETTINGS = (
    "function", "command", "space", "scheduler", "searcher", "max_resource", "mode", "score", "trials",
    "total_resource", "seconds", "target", "budget", "hours", "path", "seed", "initial", "warm_start",
    *RunOptions.__struct_fields__,
)  # fmt: skip
CALLED_BEFORE = ("resource", "study")
TOTALS = ("trials", "resource", "seconds", "target", "budget", "hours")


def main() -> None:
    """Run the command; every failure that is not a defect of ours is one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=ENCODE_ERRORS)
    sys.exit(_let_go_of_stdout(_run()))


def _run() -> int:
    """The exit code of the command, after the line that says what is wrong, if anything is."""
    try:
        code = commands.main(standalone_mode=False)  # the code of an Exit, or None
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        complain(said.getvalue().rstrip("\n"))
        return error.exit_code
    except BrokenPipeError:
        return 1  # whoever read our output has enough of it
    except (InputError, StudyError, OSError) as error:
        complain(f"rungwise: {error}")
        return 2 if isinstance(error, InputError) else 1
    except (KeyboardInterrupt, click.exceptions.Abort):
        complain("rungwise: stopped")
        return 130


def _let_go_of_stdout(code: int) -> int:
    """Write what is left to standard output; where that fails it is dropped, or Python would complain at its end."""
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if code == 0 and not isinstance(error, BrokenPipeError):
            complain(f"rungwise: standard output cannot be written: {error}")
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


def tell(text: str) -> None:
    """Print `text`, which may hold what a study file, a function or a path brings along, on standard output."""
    print(shown_lines(text))


def complain(text: str) -> None:
    """The same on standard error, which may fail: there is nobody to be told of that."""
    Stream(sys.stderr).write(f"{shown_lines(text)}\n")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Hyperparameter optimization that spends only as much training as the answer needs."""


bench.add_command(budget)
bench.add_command(coverage)
commands.add_command(bench)
commands.add_command(report)


class _StudyName(click.ParamType[str | Path]):
    """A study's file, or the address of one in a bucket, of which a path would lose a slash."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        return value if isinstance(value, Path) or mirror.is_address(value) else Path(value)


def total_options(command: F) -> F:
    """The options that `tune`, `resume` and `extend` share."""
    totals = [
        click.option("--trials", type=int, help="Total number of configurations to try."),
        click.option(
            "--budget", type=float, help="Total training, in full trainings to the max_resource, the winner's included."
        ),
        click.option("--hours", type=float, help="Total running time in hours, the winner's training included."),
        click.option("--total-resource", "--resource", "resource", type=int, help="Total resource (epochs, …) to use."),
        click.option("--seconds", type=float, help="Total running time."),
        click.option("--target", type=float, help="Stop at a score as good as this."),
    ]
    for option in reversed(totals):
        command = option(command)
    return command


def scheduler_options(command: F) -> F:
    """The options that `tune` and `replay` share: a scheduler's settings."""
    settings = [
        click.option("--min-resource", type=int, help="The first rung (default 1)."),
        click.option("--max-resource", type=int, help="The last rung; optional for PASHA and ASHA."),
        click.option("--reduction-factor", type=float, help="η: one in η trials is promoted at each rung (default 3)."),
        click.option(
            "--ranking", type=click.Choice(sorted(RANKINGS)), help="When PASHA takes two rungs to agree (default soft)."
        ),
        click.option(
            "--promotion",
            type=click.Choice(sorted(PROMOTIONS)),
            help="How many PASHA and ASHA promote (default eager; half as patient with a budget and no --scheduler).",
        ),
        click.option(
            "--breadth-first", is_flag=True, default=None, help="PASHA and ASHA: start all trials before promoting any."
        ),
    ]
    for option in reversed(settings):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """The options that `tune` and `resume` share: the totals, and those of a run."""
    of_run = [_option(field) for field in msgspec.structs.fields(RunOptions)]
    to = click.option("--refit-to", type=int, help="At the end, train the best trial to this resource.")
    setting = click.option(
        "--executor-option", "executor_option", multiple=True, metavar="NAME=VALUE",
        help="A setting of the executor, such as partition=gpu; may be given several times.",
    )  # fmt: skip
    for option in reversed([*of_run, setting, to]):
        command = option(command)
    return total_options(command)


def _option(field: msgspec.structs.FieldInfo) -> Callable[[F], F]:
    """The option of the command for a field of `RunOptions`."""
    kind, meta = get_args(field.type)
    flag, text = f"--{field.name.replace('_', '-')}", meta.description
    if field.name == "devices":
        given: Callable[..., Any] = lambda _context, _option, text: None if text is None else from_text(text)  # noqa: E731
        return click.option(flag, callback=given, help=text)
    if field.name == "executor":
        return click.option(flag, type=click.Choice(NAMES), help=text)
    if field.name == "checkpoints":
        return click.option(flag, type=click.Path(), help=text)
    if field.name == "refit":
        return click.option("--refit/--no-refit", default=None, help=text)
    if kind is bool:
        return click.option(flag, is_flag=True, default=None, help=text)
    return click.option(flag, type=int if int in (kind, *get_args(kind)) else float, help=text)


@commands.command("tune")
@click.argument("function", required=False)
@click.option("--config", type=click.Path(path_type=Path), help=f"TOML settings file (default: {SETTINGS}, if any).")
@click.option("--space", help="The search space: a .json or .toml file, JSON text, or file.py:NAME.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether lower or higher scores are better.")
@click.option("--score", type=click.Choice(SCORES), help="Which of a trial's reports counts (default last).")
@click.option("--study", type=_StudyName(), help="The study's file, or its s3:// address (default: rungwise.db).")
@click.option(
    "--scheduler",
    metavar="NAME",
    help=f"One of {', '.join(SCHEDULERS)}, or yours as module:Class (default pasha; with a budget, a patient asha).",
)
@click.option(
    "--searcher", metavar="NAME", help=f"One of {', '.join(get_args(SearcherName))}, or yours as module:Class."
)
@click.option("--initial", type=click.Path(path_type=Path), help="A .json file: a list of configurations to try first.")
@click.option("--warm-start", type=click.Path(), help="The file of an earlier study to learn from.")
@scheduler_options
@click.option("--seed", type=int, help="Seed of the search (default 0).")
@run_options
def tune_command(
    function: str | None,
    config: Path | None,
    space: str | None,
    min_resource: int | None,
    max_resource: int | None,
    reduction_factor: float | None,
    ranking: str | None,
    promotion: str | None,
    breadth_first: bool | None,
    scheduler: str | None,
    initial: Path | None,
    refit_to: int | None,
    **options: Any,
) -> None:
    """Tune FUNCTION, or the program in a settings file.

    Name FUNCTION as train.py:train or package.module:train. If the study file exists, its study is resumed.
    """
    settings = _settings(config, wanted=function is None)
    if options["study"] is not None:
        settings.pop("path", None)
    settings |= {name: value for name, value in options.items() if value is not None}
    _executor(settings)
    given, command = settings.pop("function", None), settings.pop("command", None)
    objective = _objective(function or given, None if function else command)
    if refit_to is not None:
        settings["refit"] = refit_to
    if initial is not None:
        settings["initial"] = _initial(initial)
    if space is not None:
        settings["space"] = load_space(space)
    elif "space" in settings:
        given_space = settings["space"]
        settings["space"] = load_space(given_space) if isinstance(given_space, str) else Space.from_dict(given_space)
    else:
        raise InputError("say what to search: --space space.json, --space train.py:SPACE, or a [space] in the settings")
    chosen = {
        "name": scheduler,
        "min_resource": min_resource,
        "max_resource": max_resource,
        "reduction_factor": reduction_factor,
        "ranking": ranking,
        "promotion": promotion,
        "breadth_first": breadth_first,
    }
    settings["scheduler"] = _scheduler(settings.get("scheduler", {}), chosen)
    if max_resource is not None:
        settings.pop("max_resource", None)
    if "mode" not in settings:
        raise InputError("say whether lower or higher scores are better: --mode min or --mode max")
    if "path" not in settings:
        settings.setdefault("study", "rungwise.db")
    with result_elsewhere():
        study = tune(objective, **settings)
    _show_end(study)


def _executor(given: dict[str, Any], before: object = None) -> None:
    """Make one of the options for the executor in `given`; without a name they are for the one `before`."""
    options = given.pop("executor_option", None) or ()
    if isinstance(name := given.get("executor"), str):
        given["executor"] = {"name": name}
    if not options:
        return
    if not isinstance(given.setdefault("executor", before), dict):
        raise InputError(f"--executor-option {options[0]} needs an executor: --executor dask, ray, or slurm")
    given["executor"] = dict(given["executor"])
    for option in options:
        setting, equals, text = option.partition("=")
        if not equals:
            raise InputError(f"--executor-option must be NAME=VALUE, such as partition=gpu, not {option!r}")
        try:
            given["executor"][setting] = json.loads(text)
        except ValueError:
            given["executor"][setting] = text


def _settings(path: Path | None, *, wanted: bool) -> dict[str, Any]:
    """What the settings file says; without the default one it goes on, unless it is `wanted`."""
    if path is None:
        path = Path(SETTINGS)
        if not path.exists():
            if wanted:
                raise InputError(f"say what to tune: rungwise tune train.py:train …, or write a {SETTINGS}")
            return {}
        if not wanted:
            complain(f"options not given here are taken from {SETTINGS}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    for name in settings:
        if name not in (*IN_SETTINGS, *CALLED_BEFORE):
            raise InputError(f"{path} has the unknown setting {name!r}{suggestion(name, IN_SETTINGS)}")
    return settings


def _initial(path: Path) -> Any:
    """What the file of configurations says."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the configurations in {path} cannot be read: {error}") from None


def _scheduler(given: object, chosen: Mapping[str, object]) -> dict[str, Any]:
    """The scheduler of the settings file with the options over it; it may have no name."""
    scheduler = {"name": given} if isinstance(given, str) else given
    if not isinstance(scheduler, dict):
        raise InputError(f"scheduler must be a name or a table, not {given!r}")
    return scheduler | {name: value for name, value in chosen.items() if value is not None}


def _objective(function: object, command: Any) -> Function:
    if (function is None) == (command is None):
        raise InputError("give either a function (train.py:train) or a command, not both")
    if command is not None:
        return Command(command)
    if not isinstance(function, str):
        raise InputError(f"function must be text like train.py:train, not {function!r}")
    return NamedFunction(function)


def load_space(text: str) -> Space:
    """A space from a .json or .toml file, from JSON text, or from file.py:NAME."""
    if text.lstrip().startswith("{"):
        return Space.from_json(text)
    if text.endswith((".json", ".toml")):
        try:
            content = Path(text).read_text(encoding="utf-8")
            if text.endswith(".json"):
                return Space.from_json(content)
            loaded = tomllib.loads(content)
            return Space.from_dict(loaded.get("space", loaded))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"the space {text} cannot be read: {error}") from None
    value: Space | Mapping[str, Any] = load_attribute(text)
    return as_space(value)


def _show_end(study: Study) -> None:
    """How a run ended, and the exit code that says so."""
    tell("\n".join([summary(study), *budget_in_words(study), *result(study)]))
    if study.interrupted or not study.state.how.get("quiet"):
        complain(": ".join(filter(None, next_step(study))))
    if study.interrupted:
        raise click.exceptions.Exit(130)
    if not study.has_best:
        raise StudyError(no_result(study))
    refits = study.state.refit_to is not None and not study.metrics.names
    if refits and (failed := refit_failure(study.trials[study.best.number])) is not None:
        raise StudyError(failed)


study_argument = click.argument("study", type=_StudyName(), default="rungwise.db")
study_first = click.argument("study", type=_StudyName())
trust_option = click.option("--trust", is_flag=True, help="Run what the file names, even if it was not begun here.")


@commands.command()
@study_argument
@click.option("--function", help="The function, if the study was begun from Python or the file has moved.")
@trust_option
@run_options
def resume(study: str | Path, function: str | None, trust: bool, refit_to: int | None, **options: Any) -> None:
    """Resume STUDY after an end, a crash, or a pause.

    Options not given here are those of the last run. If the study is running and paused, this unpauses it.
    """
    if _driven(here := mirror.local(study)):
        given = {name: value for name, value in options.items() if value is not None and value != ()}
        totals = {name: given.pop(name) for name in TOTALS if name in given}
        with contextlib.suppress(StudyError):  # it has not been asked to pause: who holds it is said next
            if not (given or function or refit_to is not None):
                tell(ask(real_path(here), Request("resume")))
                if totals:
                    tell(ask(real_path(here), Request("extend", **totals)))
                return
    with _opened(study, function, trust) as opened:
        given = {name: value for name, value in options.items() if value is not None}
        _executor(given, opened.state.how.get("executor"))
        how = opened.state.how | given
        if refit_to is not None:
            how["refit"] = refit_to
        told = RunOptions.of(how)
        told.check_against(opened.scheduler)
        objective = _objective_of(opened, function)
        if how.get("refit") != opened.state.how.get("refit"):  # what a budget keeps for it is to be known to the log
            opened.decider.opened(opened.state.how | {"refit": how["refit"]})
        opened.extend(**{name: how.get(name) for name in TOTALS})
        with result_elsewhere():
            run(opened, objective, told)
        _show_end(opened)


@commands.command()
@study_argument
@click.option("--to", "until", type=int, help="The resource to train to (default: the scheduler's max_resource).")
@click.option("--function", help="The function, if the study was begun from Python or the file has moved.")
@trust_option
@click.option("--quiet", is_flag=True, default=None, help="Show nothing while it runs.")
def refit(study: str | Path, until: int | None, function: str | None, trust: bool, quiet: bool | None) -> None:
    """Train the best trial of STUDY further."""
    with _opened(study, function, trust) as opened:
        asked = {"refit": True if until is None else until, "workers": 1} | ({"quiet": True} if quiet else {})
        options = RunOptions.of(opened.state.how | asked)
        options.check_against(opened.scheduler)
        objective = _objective_of(opened, function)
        with result_elsewhere():
            run(opened, objective, options, tune=False)
        _show_end(opened)


@contextlib.contextmanager
def _opened(path: str | Path, function: str | None, trust: bool, *, runs: bool = True) -> Iterator[Study]:
    """The study in `path`, if what it would import, and where it `runs` would run, may be: see `rungwise.trust`."""
    asks = runs and function is None

    def may(named: Named) -> None:
        how = named.how or {}
        named_only = not runs or ("checkpoints" not in how and not isinstance(how.get("executor"), dict))
        handed_over = named.how is not None and not asks and named_only
        if trust or handed_over or (why := wanting(named)) is None:
            return
        what = f"resuming would {'import' if named.how is None else 'run'} {shown(', '.join(named.names))}"
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            raise InputError(f"{shown(path)}: {what}, and {shown(why)}; if you trust the file, use --trust")
        complain(f"{shown(path)}: {shown(why)}.\n{what}")
        if not click.confirm("Do you trust it?", err=True):
            raise InputError(f"{shown(path)} was left unchanged")

    with contextlib.closing(Study.open(path, writable=True, trust=may)) as opened:
        if asks:
            note_begun(opened)
        yield opened


def _objective_of(study: Study, function: str | None) -> Function:
    how = study.state.how
    if function is None and "function" not in how and "command" not in how:
        raise InputError(
            f"{study.path} was begun from Python: run that program again, or use --function train.py:train"
        )
    objective = _objective(function or how.get("function"), None if function else how.get("command"))
    check_function(objective)
    return objective


@commands.command()
@study_first
@click.argument("trials", type=int, nargs=-1)
@trust_option
def retry(study: Path, trials: tuple[int, ...], trust: bool) -> None:
    """Give failed trials of STUDY another chance.

    TRIALS are their numbers (default: all that failed).
    """
    if _driven(study):
        tell(ask(real_path(study), Request("retry", failed=list(trials) or None)))
        return
    with _opened(study, None, trust, runs=False) as opened:
        numbers = opened.retry_failed(trials or None)
        again = to_go_on(opened)
    tell(taken_back(numbers))
    if numbers:
        tell(f"continue with: {again}")


def _driven(study: Path) -> bool:
    """Whether a process drives `study`, which can be asked then; `InputError` for an address."""
    if mirror.is_address(study):
        raise InputError(
            f"{study} is a copy: name the file on the machine that drives the study, such as {mirror.local(study)}"
        )
    real = real_path(study)
    return real.exists() and held(real)


def _ask_driver(study: Path, request: Request) -> None:
    if not _driven(study):
        raise StudyError(f"no process drives {study}, so there is nothing to {request.ask}")
    tell(ask(real_path(study), request))


@commands.command()
@study_argument
def pause(study: Path) -> None:
    """Pause a running STUDY.

    Jobs stop at their next checkpoint. `rungwise resume` continues.
    """
    _ask_driver(study, Request("pause"))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--max-resource must be a whole number or 'none', not {text!r}") from None


@commands.command()
@study_argument
def stop(study: Path) -> None:
    """Stop a running STUDY, as Ctrl-C does.

    Running jobs reach a checkpoint first.
    """
    _ask_driver(study, Request("stop"))


@commands.command()
@study_argument
@total_options
@click.option("--max-resource", help="Raise the most that a trial may get (asha, pasha); 'none': no limit.")
@trust_option
def extend(study: Path, trust: bool, max_resource: str | None, **totals: Any) -> None:
    """Set totals of STUDY, running or not, or raise the max_resource of one that is not running.

    Omitted totals stay as they are.
    """
    driven = _driven(study)
    if max_resource is not None:
        with _opened(study, None, trust, runs=False) as opened:
            opened.raise_max_resource(None if max_resource == "none" else _whole(max_resource))
            units, now = opened.state.total_units, f"max_resource is {max_resource} now"
            if units is not None:
                now += f"; budget={opened.budget.trainings:g} counts full trainings: {counted(units, 'unit')} now"
            tell("max_resource was removed" if max_resource == "none" else now)
    elif all(total is None for total in totals.values()):
        raise InputError(
            "say which total to set: --trials, --budget, --hours, --total-resource, --seconds, --target, or "
            "--max-resource"
        )
    if all(total is None for total in totals.values()):
        return
    if driven:
        tell(ask(real_path(study), Request("extend", **totals)))
        return
    with _opened(study, None, trust, runs=False) as opened:
        opened.extend(**totals)
        tell(f"continue with: {to_go_on(opened)}")


@commands.command()
@study_first
@click.argument("config")
@trust_option
def enqueue(study: Path, config: str, trust: bool) -> None:
    """Try CONFIG next in STUDY, running or not.

    CONFIG is a JSON object of values.
    """
    try:
        values = json.loads(config)
    except ValueError as error:
        raise InputError(f"the configuration is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f'the configuration must be an object like {{"lr": 0.1}}, not {shown(config)}')
    if _driven(study):
        tell(ask(real_path(study), Request("enqueue", config=values)))
        return
    with _opened(study, None, trust, runs=False) as opened:
        opened.enqueue(values)
        tell(f"{queued(opened)}; continue with: {to_go_on(opened)}")


@commands.command()
@study_first
@click.argument("file", type=click.Path(path_type=Path))
def salvage(study: Path, file: Path) -> None:
    """Save the undamaged part of STUDY to a new FILE."""
    count, wrong = salvage_study(study, file)
    tell(f"{counted(count, 'fact')} saved to {file}" + ("; nothing was damaged" if wrong is None else f": {wrong}"))
    tell(f"its checkpoints are in {study}.trials: move that folder to {file}.trials to use them")


@commands.command()
@study_argument
def status(study: str | Path) -> None:
    """Show where STUDY stands.

    This shows its rungs, ceiling, totals, best trial, and queue, and why jobs broke off.
    """
    opened = Study.open(study)
    assert opened.path is not None
    driven = held(real := real_path(opened.path))
    tell(drawn(rungs_table(opened, held=driven), 80))
    paused = ["paused: continue with rungwise resume"] if driven and is_paused(real) else []
    line = summary(opened, held=driven, ran=opened.running_seconds)
    tell("\n".join([*paused, line, *budget_in_words(opened), *enqueued(opened), *broken_off(opened.state)]))


@commands.command()
@study_argument
def workers(study: Path) -> None:
    """Show who trains what in a running STUDY, since when, and where."""
    opened = Study.open(study)
    if not _driven(study):
        goes_on = "it has finished" if opened.finished else f"continue with: {to_go_on(opened)}"
        raise StudyError(f"no process drives {study}, so nobody trains; {goes_on}")
    if not opened.running:
        tell("no job is under way")
        return
    tell(drawn(workers_table(opened, time.time()), 200))


@commands.command()
@study_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def best(study: str | Path, as_json: bool) -> None:
    """Show the best trial of STUDY, or its Pareto front."""
    opened = Study.open(study)
    if not as_json:
        tell("\n".join(result(opened) or [no_result(opened)]))
        return
    if opened.metrics.names:
        front = [
            {"trial": one.number, "config": one.config, "scores": one.scores, "resource": one.resource}
            for one in opened.front
        ]
        _tell_json(front)
        return
    found = opened.best
    refit_score = found.refit_score
    if refit_score is not None and not math.isfinite(refit_score):
        refit_score = None  # NaN is no JSON
    told = {
        "trial": found.number, "config": found.config, "score": found.score, "resource": found.resource,
        "refit_score": refit_score, "refit_resource": found.refit_resource,
        "folder": None if found.folder is None else str(found.folder),
    }  # fmt: skip
    _tell_json(told)


def _tell_json(value: Any) -> None:
    """`value` for programs: where the encoding has not all characters, JSON has its own way to write them."""
    try:
        shown_json(value).encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        print(shown_json(value))
    except UnicodeEncodeError:
        print(json.dumps(value))


@commands.command()
@study_argument
@click.option("--trial", type=int, help="Explain this trial: why it was promoted, or what would promote it.")
def explain(study: str | Path, trial: int | None) -> None:
    """Explain why STUDY stands where it does.

    This explains each rise of the ceiling and how near the next one is, the failures, the best trial, and which trials
    cannot be told apart from it.
    """
    tell(Study.open(study).explain(trial))


@commands.command()
@study_first
@click.option("--scheduler", "name", type=click.Choice(list(SCHEDULERS)), help="Another scheduler.")
@scheduler_options
def replay(study: str | Path, **options: Any) -> None:
    """Show what other settings would have decided in STUDY.

    The recorded curves are decided anew, in the order of the log. Settings not given are the study's. What nobody
    trained far enough to know is counted, not guessed.
    """
    opened = Study.open(study)
    chosen = {name: value for name, value in options.items() if value is not None}
    tell(str(opened.replay(changed(opened.state.created.scheduler, chosen))))


@commands.command("forecast")
@study_argument
@click.option("--trials", type=int, help="Trials in total (default: the study's).")
@click.option("--workers", type=int, help="How many train at the same time (default: as in the last run).")
@click.option("--price-per-hour", type=float, help="What a worker costs an hour.")
@click.option("--seed", type=int, default=0, help="Seed of the simulations (default 0).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def forecast_command(study: str | Path, as_json: bool, **options: Any) -> None:
    """Show what STUDY will still cost: resource, time, and money.

    Its rest is simulated again and again with curves like those seen so far.
    """
    found = forecast(Study.open(study), **options)
    if as_json:
        _tell_json(msgspec.to_builtins(found))
    else:
        tell(str(found))


@commands.command()
@study_first
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reports", is_flag=True, help="Write one row per report instead of one per trial.")
def export(study: str | Path, file: Path, reports: bool) -> None:
    """Write the trials of STUDY to FILE: .csv, .json, or .parquet.

    The choice None is null. An inactive parameter is empty (in JSON its key is missing). Mixed choices are JSON text in
    CSV and Parquet.
    """
    export_study(Study.open(study), file, reports=reports)


@commands.command()
@study_argument
@click.option(
    "--figure",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"One of {', '.join(FIGURES)}, or with --at one of {', '.join(OPTUNA)}; may be repeated.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The page to write, .html.")
@click.option("--metric", help="The metric to show, if the study has several.")
@click.option("--at", type=int, help="The rung whose scores the figures of Optuna's show.")
@click.option("--dark", is_flag=True, help="Light lines on a dark page.")
@click.option("--cdn", is_flag=True, help="Load Plotly from the network: a page of some kB instead of 5 MB.")
def plot(
    study: str | Path, names: tuple[str, ...], output: Path, metric: str | None, at: int | None, dark: bool, cdn: bool
) -> None:
    """Draw figures of STUDY on one HTML page, which needs no network.

    Without --figure these are the four that matter: cost, learning curves, ladder, and ceiling.
    """
    written = write_figures(Study.open(study), output, names, metric=metric, at=at, dark=dark, cdn=cdn)
    tell(f"{output}: {', '.join(written)}")
