"""Does pausing change what a function reports? One configuration, trained whole and in pieces, each in a fresh process.

Where the two differ, further trainings say why, as far as that can be seen from outside. May import everything below.
"""

from __future__ import annotations

import pickle
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from rungwise.conversion import as_space
from rungwise.errors import InputError
from rungwise.events import Completed, Config, Job, Reported, Score
from rungwise.executors import Broke, Noticed, Paused
from rungwise.executors.command import Command
from rungwise.executors.local import LocalWorkers
from rungwise.folders import trial_folder
from rungwise.run import check_function
from rungwise.space import Space
from rungwise.tail import last_lines
from rungwise.trial import IMPORTING, Trial
from rungwise.validation import real, whole
from rungwise.words import counted

Function = Callable[[Trial], object]
Curve = dict[int, Score | None]
STUDY = "c0ffee00c0ffee00"  # the id of a study that there is not: trial.seed is the same in all trainings
SAVED, LOADED, NOTHING, DREW = "saved", "loaded", "found nothing to load", "drew from "  # what a worker notices

NOT_DETERMINISTIC = (
    "it is not deterministic even without a pause: two trainings without a pause differ from resource {0} on. {1}Seed "
    "each epoch: np.random.default_rng(trial.seed(epoch)), torch.manual_seed(trial.seed(epoch)). What then remains "
    "comes from the order of summation, in threads or on a GPU: allow for it with tolerance="
)
STRETCHED = (
    "the end of the job changes how it trains: a job to {0} scores differently from one to {1} on the same epochs. "
    "Most likely a learning-rate schedule runs over {2}, and so starts and ends in each job: run it over {3}, how far "
    "the trial may ever be trained"
)
NEVER_LOADED = "trial.load() was never called, so each job starts with an untrained model: call it first"
NEVER_SAVED = (
    "trial.save(state) was never called, so there is nothing to resume from: call it after the loop or each epoch"
)
NOTHING_LOADED = "trial.load() found nothing, because the job before saved nothing: call trial.save(state) there"
DISCARDED = (
    "the state from trial.load() is not used: with None instead, the scores are the same; restore it: "
    "`if (state := trial.load()) is not None:`"
)
DEPENDS_ON_START = (
    "it depends on trial.start, where the job begins: with 0 instead, and all else as after the pause, nothing "
    "changes. Most likely a warm-up starts over in each job: make it depend only on the epoch"
)
FROM_THE_START = "the program trains from the start in each job: save to {checkpoint}, and resume from what is there"
GENERATORS = (
    "it continues with other random numbers: if the states of the global generators of random, NumPy, and torch are "
    "carried over the pause, nothing changes. Seed each epoch: np.random.default_rng(trial.seed(epoch)), "
    "torch.manual_seed(trial.seed(epoch)); or save and restore those states"
)
NOT_ALL_SAVED = (
    "the saved state is not complete. Often missing: the optimizer (momentum, Adam's moments), the position in a "
    "learning-rate schedule, an average of weights, or a generator that decides the order of the data or dropout (seed "
    "each epoch with trial.seed(epoch) instead)"
)
NOT_ALL_SAVED_BY_PROGRAM = (
    "the program does not save its complete state in {checkpoint}, or does not load it. Often missing: the optimizer, "
    "the position in a learning-rate schedule, random numbers"
)


@final
class TrainingReport(msgspec.Struct, frozen=True):
    """What pausing changed; `print` it, or `check()` it in a test.

    `whole` and `pieces` map each resource to its score, without and with pauses at `rungs`, for `config`; a non-finite
    score is None. `differs` is the first resource at which they differ by more than the tolerance, or None. `reasons`
    are sentences: why they differ, or why all training is repeated after each pause. `again` is the resource that was
    trained twice. `failure` says what broke off, if anything did.
    """

    config: Config
    rungs: tuple[int, ...]
    whole: Curve
    pieces: Curve = {}
    differs: int | None = None
    reasons: tuple[str, ...] = ()
    again: int = 0
    failure: str | None = None

    @property
    def same(self) -> bool:
        """Whether both trainings completed with the same scores."""
        return self.failure is None and self.differs is None

    def check(self) -> None:
        """Raise `AssertionError` if pausing changes anything, or costs all the training before it."""
        if not self.same or self.reasons:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        where = f"{self.config}, paused at {' and '.join(map(str, self.rungs))}"
        if self.failure is not None:
            return f"The training broke off ({where}): {self.failure}"
        if self.differs is None:
            common = len(self.whole.keys() & self.pieces.keys())
            does = "costs all the training before it" if self.reasons else "changes nothing"
            said = f"Pausing {does} ({where}): {counted(common, 'score')} alike."
        else:
            at = self.differs
            after = [rung for rung in self.rungs if rung < at]
            place = f"after the pause at {after[-1]}" if after else "before the first pause"
            said = (
                f"Pausing changes the results ({where}): from resource {at} on, {place}, where it scored "
                f"{self.whole[at]!r} without a pause and {self.pieces[at]!r} with pauses."
            )
        if self.again and (self.differs is None or not self.reasons):
            said += f"\n- after the pauses {counted(self.again, 'unit')} of resource were trained again"
        return said + "".join(f"\n- {reason}." for reason in self.reasons)

    __repr__ = __str__


class _Run(msgspec.Struct):
    """What one training said, in one job or in several."""

    scores: Curve = {}
    again: int = 0
    noticed: list[set[str]] = []  # a set a job
    failure: str | None = None


def check_training(
    function: Function,
    space: Space | Mapping[str, Any],
    *,
    until: int = 9,
    rungs: Sequence[int] = (1, 3),
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    tolerance: float = 0.0,
) -> TrainingReport:
    """Train one configuration to `until`, without a pause and paused at `rungs`, and compare the scores.

    Each job runs in a fresh process that gets only the checkpoint, as after a pause. The configuration is `config`, or
    the first that random search with this `seed` draws from `space`. Scores may differ by `tolerance`. If they differ
    by more, further trainings look for the reason: unseeded randomness, a schedule stretched over `trial.until`,
    something that depends on `trial.start`, a state that is not completely saved or loaded. If each job starts over,
    the scores are the same, but `check()` still fails: pausing costs all the training before it.

        print(rungwise.testing.check_training(train, SPACE))

    or in a test, which fails with these words: `check_training(train, SPACE).check()`.

    Raises `InputError` for invalid arguments, and `StudyError` if no other process can load the function. If a training
    breaks off, the report says so.
    """
    if IMPORTING.is_set():
        raise InputError(
            "check_training() was called while the file of a training function was being imported; put the call under "
            'if __name__ == "__main__":'
        )
    check_function(function)
    stops = _stops(rungs, until)
    space = as_space(space)
    config = space.sample(np.random.default_rng([seed, 0])) if config is None else space.check(config)
    if real(tolerance, "tolerance") < 0:
        raise InputError(f"tolerance must be 0 or more, not {tolerance!r}")
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        return _Check(function, config, stops, Path(folder), tolerance).report()


def _stops(rungs: Sequence[int], until: int) -> list[int]:
    """Where the jobs end: at the rungs, and at last at `until`."""
    stops = [*(whole(rung, "a rung") for rung in rungs), whole(until, "until")]
    if len(stops) < 2 or any(one >= next_ for one, next_ in pairwise([0, *stops])):
        raise InputError(f"rungs must be one or more increasing resources from 1 to below until={until}, not {rungs!r}")
    return stops


@final
class _Check:
    """One configuration, and the trainings of it in `folder`."""

    def __init__(self, function: Function, config: Config, stops: list[int], folder: Path, tolerance: float) -> None:
        self._function, self._config, self._stops = function, config, stops
        self._folder, self._tolerance = folder, tolerance
        self._program = isinstance(function, Command)

    def report(self) -> TrainingReport:
        """Train whole and in pieces, and compare."""
        *rungs, until = self._stops
        whole_run = self._train("whole", [until])
        report = TrainingReport(self._config, tuple(rungs), whole_run.scores, failure=whole_run.failure)
        if report.failure is not None:
            return report
        pieces = self._train("pieces", self._stops)
        differs = self._differs(whole_run, pieces)
        reasons = self._begins_anew(whole_run, pieces) if differs is None and pieces.again else []
        if differs is not None:
            reasons = self._reasons(whole_run, pieces, differs)
        failure = pieces.failure
        if failure is None and not whole_run.scores.keys() & pieces.scores.keys():
            failure = "with and without pauses it never reports at the same resource; report after each epoch"
        return msgspec.structs.replace(
            report, pieces=pieces.scores, differs=differs, reasons=tuple(reasons), again=pieces.again, failure=failure
        )

    def _differs(self, one: _Run, other: _Run) -> int | None:
        """The first resource at which both report, and not the same."""
        common = sorted(one.scores.keys() & other.scores.keys())
        return next((at for at in common if not self._alike(one.scores[at], other.scores[at])), None)

    def _alike_in_all(self, one: _Run, other: _Run) -> bool:
        return other.failure is None and self._differs(one, other) is None

    def _alike(self, one: Score | None, other: Score | None) -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self._alike(one[name], other[name]) for name in one)
        if isinstance(one, float | int) and isinstance(other, float | int):
            return abs(one - other) <= self._tolerance
        return one is None and other is None

    def _reasons(self, whole_run: _Run, pieces: _Run, differs: int) -> list[str]:
        """Why pieces differ from the whole; what would hide everything else comes first."""
        *rungs, until = self._stops
        again = self._train("again", [until])
        if (at := self._differs(whole_run, again)) is not None:
            drawn = sorted(each.removeprefix(DREW) for each in whole_run.noticed[0] if each.startswith(DREW))
            drew = f"It draws from the global generator of {' and of '.join(drawn)}. " if drawn else ""
            return [NOT_DETERMINISTIC.format(at, drew)]
        if differs <= rungs[0]:
            return [self._stretched(rungs[0])]
        reasons = []
        if self._differs(whole_run, self._train("short", [rungs[-1]])) is not None:
            reasons.append(self._stretched(rungs[-1]))
        if self._program:
            return reasons or [NOT_ALL_SAVED_BY_PROGRAM]
        if unloaded := self._unloaded(pieces):
            return [*reasons, *unloaded]
        if not reasons and self._alike_in_all(pieces, self._train("blank", self._stops, blank=True)):
            return [DISCARDED]
        if not reasons and self._alike_in_all(whole_run, self._train("from 0", self._stops, from_zero=True)):
            return [DEPENDS_ON_START]
        if not reasons and self._alike_in_all(whole_run, self._train("carried", self._stops, carry=True)):
            return [GENERATORS]
        return reasons or [NOT_ALL_SAVED]

    def _stretched(self, until: int) -> str:
        names = ("{until}", "{horizon}") if self._program else ("trial.until", "trial.horizon")
        return STRETCHED.format(until, self._stops[-1], *names)

    def _begins_anew(self, whole_run: _Run, pieces: _Run) -> list[str]:
        """Why all training before a pause is done again, if it is."""
        if not self._program:
            return self._unloaded(pieces)
        before = sum(at <= stop for stop in self._stops[:-1] for at in whole_run.scores)
        return [FROM_THE_START] if pieces.again >= before else []

    def _unloaded(self, pieces: _Run) -> list[str]:
        """Whether any job began without the state of the one before."""
        later = pieces.noticed[1:]
        if self._program or all(LOADED in noticed for noticed in later):
            return []
        if not any(SAVED in noticed for noticed in pieces.noticed):
            return [NEVER_SAVED]
        return [NOTHING_LOADED if any(NOTHING in noticed for noticed in later) else NEVER_LOADED]

    def _train(
        self, name: str, stops: list[int], *, carry: bool = False, blank: bool = False, from_zero: bool = False
    ) -> _Run:
        """Train from 0 to each of `stops` in turn, a fresh process for each; `from_zero` says that each begins at 0."""
        run = _Run()
        function = self._function if self._program else _Watched(self._function, carry, blank)
        for number, (start, until) in enumerate(pairwise([0, *stops])):
            job = Job(
                0, self._config, 0 if from_zero else start, until, lease=number, study=STUDY, horizon=self._stops[-1]
            )
            self._do(job, function, self._folder / name, run)
            if run.failure is not None:
                break
        return run

    def _do(self, job: Job, function: Function, folder: Path, run: _Run) -> None:
        """Do one job, and note in `run` what it says."""
        run.noticed.append(set())
        with closing(LocalWorkers(function, 1, folder)) as workers:
            workers.submit(job)
            while True:
                for message in (said.message for said in workers.poll()):
                    if isinstance(message, Reported) and message.resource > job.start:
                        assert not isinstance(message.score, tuple)
                        run.scores[message.resource] = message.score
                    elif isinstance(message, Reported):
                        run.again += 1
                    elif isinstance(message, Noticed):
                        run.noticed[-1].add(message.text)
                    elif isinstance(message, Broke):
                        log = trial_folder(folder, job.trial).with_suffix(".log")
                        where = f"from {job.start} to {job.until}: {message.reason}"
                        run.failure = "\n".join([where, *(f"  {line}" for line in last_lines(log))])
                        return
                    elif isinstance(message, Completed | Paused):
                        return


@final
class _Watched:
    """The function in the worker, with an ear for what it does about its state.

    `carry`: global generators go along; `blank`: it goes on from where it was, but is given None in place of its state.
    """

    def __init__(self, function: Function, carry: bool, blank: bool) -> None:
        self._function, self._carry, self._blank = function, carry, blank

    def __call__(self, trial: Trial) -> object:
        def notice(text: str) -> None:
            trial._send(Noticed(trial.number, text))

        load, save = trial.load, trial.save
        generators = trial.folder.with_suffix(".generators")

        def loading() -> Any:
            state = load()
            notice(NOTHING if state is None else LOADED)
            if self._carry and state is not None and generators.exists():
                _set_generators(pickle.loads(generators.read_bytes()))  # noqa: S301  # written below
            return None if self._blank else state

        def saving(state: object) -> None:
            if self._carry:
                generators.write_bytes(pickle.dumps(_generators()))
            notice(SAVED)
            save(state)

        trial.load, trial.save = loading, saving  # type: ignore[method-assign]
        before = _generators()
        try:
            return self._function(trial)
        finally:
            for name, state in _generators().items():
                if name in before and pickle.dumps(state) != pickle.dumps(before[name]):
                    notice(f"{DREW}{name}")


def _generators() -> dict[str, Any]:
    """The states of the global generators, of those that are there."""
    states: dict[str, Any] = {"random": random.getstate(), "numpy": np.random.get_state()}
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_initialized():
            states["torch on GPUs"] = [state.cpu().numpy() for state in torch.cuda.get_rng_state_all()]
    return states


def _set_generators(states: Mapping[str, Any]) -> None:
    random.setstate(states["random"])
    np.random.set_state(states["numpy"])
    if (torch := sys.modules.get("torch")) is not None and "torch" in states:
        torch.set_rng_state(torch.from_numpy(states["torch"]))
        if "torch on GPUs" in states:
            torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["torch on GPUs"]])
