"""What to try next? What a sampler of Optuna says: any of them, through one adapter.

An Optuna study in memory is brought up to date before each proposal, and a copy of the sampler, seeded from the
study's seed and the trial's number, is asked for the next trial. Optuna's states for our trials:

* RUNNING until the trial's first rung result, so that the sampler keeps away from it (TPE: `constant_liar`);
* TPE with one metric, which knows what to do with unfinished trials: PRUNED, with its loss at its highest rung as the
  intermediate value there. TPE ranks these by the rung, then by the loss. No trial need be COMPLETE for that;
* for all other samplers, which would not see pruned trials, COMPLETE with the losses at its highest rung;
* a trial that failed is PRUNED without a value, TPE's worst; for the others COMPLETE with the loss `inf`.

May import `events`, `errors`, `space`, `validation`, `search.results` and optuna. Works with Optuna 4 and 5.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import math
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from rungwise.errors import InputError, suggestion
from rungwise.events import Config, Event, Promoted, Result, Started
from rungwise.parameters import Axis, Parameter
from rungwise.search.results import Results, of_study
from rungwise.space import Rng, Space
from rungwise.validation import plain, real

TRIES = 5  # how often a sampler is asked for a configuration that is allowed and new, before chance takes over
NEEDS = {"CmaEsSampler": ["cmaes"], "GPSampler": ["scipy", "torch"], "QMCSampler": ["scipy"]}
ONE_METRIC = ("CmaEsSampler",)
FRESH = (TPESampler, GPSampler, RandomSampler)
"""Samplers that know no more than the finished trials say. Others keep a memory, in themselves or as attributes of
trials and study, which comes of being asked: when a study is opened again, they are asked again for each trial."""


@final
class OptunaSearch:
    """`sampler` over `space`: a name in `optuna.samplers`, the path of a class ("package.module:Class"), or an object.

    `arguments` are the sampler's own, as plain JSON, without the seed, which comes from the study. An object may have
    any arguments, but cannot be stored in the study's file: to resume such a study, pass an equal object again. Needs
    `pip install 'rungwise[optuna]'`; some samplers need more.

    >>> from rungwise.parameters import Float
    >>> OptunaSearch(Space({"x": Float(0, 1)}), "TPESampler", arguments={"n_startup_trials": 20}).settings()
    {'sampler': 'TPESampler', 'arguments': {'n_startup_trials': 20}}

    Raises `InputError` for a sampler that does not exist, does not accept `arguments`, or lacks a library.
    """

    name = "optuna"

    def __init__(
        self,
        space: Space,
        sampler: str | BaseSampler | Mapping[str, str] = "TPESampler",
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = space
        self._maker = _Maker(sampler, arguments or {})
        kind = self._maker.kind
        self._board = _Board(space, prunes=kind is not None and issubclass(kind, TPESampler))
        self._told = Results()  # what the board knows
        self._news: deque[Event] = deque()  # what it does not know yet
        self._memory: tuple[BaseSampler, dict[str, Any]] | None = None  # of a sampler that has one
        self._used: BaseSampler  # the one that was asked last, under the seed
        self._asked: list[int] | None = None  # if nothing but the start of that trial has been told since

    def propose(self, rng: Rng) -> Config:
        """What the sampler says to the facts told so far."""
        seed = of_study(rng)
        with _quiet():
            while self._news:
                event = self._news.popleft()
                if isinstance(event, Started):
                    self._start(event, seed)
                self._told.tell(event)
                if isinstance(event, Result):
                    self._board.end(event.trial, self._told.results[event.trial])
            return self._ask(seed, rng)

    def _ask(self, seed: list[int], rng: Rng) -> Config:
        generator = np.random.default_rng(rng)
        sampler, attributes = self._memory or (self._maker.make(seed), {})

        def draw() -> Config:
            self._used = copy.deepcopy(sampler)
            _reseed(self._used, int(generator.integers(2**31)))
            try:
                return self._board.ask(self._used, attributes)
            except ValueError as error:  # a kind of parameter, or several metrics, that it is not made for
                raise InputError(f"the sampler {self._maker.name} cannot sample this study's space: {error}") from error

        config = self._told.new(self.space, draw, generator, TRIES)
        self._asked = None if isinstance(rng, np.random.Generator) else list(rng)
        return config

    def _start(self, event: Started, seed: list[int]) -> None:
        """Put a trial on the board. A sampler with a memory is asked for it, if that was not just done."""
        remembers = self._maker.kind not in FRESH and event.trial >= 0
        if remembers:
            own = [*seed, event.trial]
            if self._asked != own:  # the study was opened again, or another searcher has chosen this trial
                self._ask(seed, own)
            self._memory = self._used, self._board.attributes()
        self._asked = None
        self._board.start(event.trial, event.config, clean=not remembers)

    def tell(self, event: Event) -> None:
        """Learns rung results and what is running, when it is asked next."""
        if isinstance(event, Started | Promoted | Result):
            if not self._news and not isinstance(event, Started):
                self._asked = None
            self._news.append(event)

    @property
    def several_metrics(self) -> bool:
        """Whether the sampler is for several; one that is not ours to know says so itself."""
        return self._maker.name.rpartition(":")[2] not in ONE_METRIC

    def settings(self) -> dict[str, Any]:
        """The sampler and its arguments as plain JSON; of an object only what it is."""
        return self._maker.settings()


def tpe(space: Space, *, gamma: float = 0.03, multivariate: bool = False, **arguments: Any) -> OptunaSearch:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), the searcher named "tpe".

    `gamma` is the share of the results that count as good: the best at the highest rungs, rounded up, at most 25. Each
    parameter has its own density. Optuna's defaults, a tenth and one joint density, are no better than random search
    where early rungs mislead: see docs/evidence.md, "Searchers that learn". `arguments` are passed to `TPESampler`.

    Raises `InputError` for a `gamma` that is not above 0 and below 1, and for arguments that `TPESampler` rejects.
    """
    return OptunaSearch(space, "TPESampler", arguments={"gamma": gamma, "multivariate": multivariate, **arguments})


def _good(share: float, results: int) -> int:
    return min(math.ceil(share * results), 25)


class _Maker:
    """Makes the sampler, of its name and arguments or after an object."""

    def __init__(self, sampler: str | BaseSampler | Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        self.arguments: dict[str, Any] = plain(dict(arguments), "an argument of the sampler")
        self.kind: type[BaseSampler] | None
        self._object = None
        if isinstance(sampler, str):
            self.name, self.kind = sampler, _kind(sampler)
            self._takes = frozenset(inspect.signature(self.kind).parameters)
            if "seed" in self.arguments:
                raise InputError("the seed of a sampler comes from the study: rw.Study(…, seed=…)")
            self.make([0])  # whether it can be
        elif self.arguments:
            raise InputError("arguments= needs a sampler given by name; pass arguments to the object itself")
        elif isinstance(sampler, BaseSampler):
            self.kind, self._object = type(sampler), sampler
            self.name = f"{self.kind.__module__}:{self.kind.__qualname__}"
        elif isinstance(sampler, Mapping) and isinstance(name := sampler.get("object"), str):
            self.name, self.kind = name, None
        else:
            raise InputError(f"sampler must be a name like 'TPESampler' or a sampler of Optuna, not {sampler!r}")

    def make(self, seed: list[int]) -> BaseSampler:
        """One for the study with `seed`; the scrambling of QMCSampler is drawn from it."""
        if self._object is not None:
            return self._object
        if self.kind is None:
            raise InputError(
                f"this study was begun with a sampler object, {self.name}; to resume it, pass an equal one: "
                "searcher=rw.OptunaSearch(space, sampler)"
            )
        arguments = dict(self.arguments)
        if "seed" in self._takes:
            arguments["seed"] = int(np.random.default_rng(seed).integers(2**31))
        if "constant_liar" in self._takes:  # the default only from Optuna 5 on
            arguments.setdefault("constant_liar", True)
        if "gamma" in arguments:  # a function there; plain JSON here
            if not 0 < (share := real(arguments["gamma"], "gamma")) < 1:
                raise InputError(f"gamma must be a share above 0 and below 1, not {share!r}")
            arguments["gamma"] = partial(_good, share)
        try:
            with _quiet():
                return self.kind(**arguments)
        except (TypeError, ValueError) as error:
            raise InputError(f"the sampler {self.name} does not accept {self.arguments}: {error}") from None

    def settings(self) -> dict[str, Any]:
        if self.kind is None or self._object is not None:
            return {"sampler": {"object": self.name}}
        return {"sampler": self.name, "arguments": self.arguments}


def _kind(name: str) -> type[BaseSampler]:
    """The class that `name` stands for."""
    module, _, attribute = name.rpartition(":")
    try:
        kind = getattr(importlib.import_module(module or "optuna.samplers"), attribute, None)
    except ImportError as error:
        raise InputError(f"the sampler {name!r} cannot be imported: {error}") from None
    if not isinstance(kind, type) or not issubclass(kind, BaseSampler):
        known = [each for each in dir(optuna.samplers) if each.endswith("Sampler")]
        raise InputError(f"there is no sampler {name!r}" + ("" if module else suggestion(name, known)))
    for library in NEEDS.get(kind.__name__, []):
        if importlib.util.find_spec(library) is None:
            raise InputError(f"the sampler {name!r} needs: pip install {library}")
    return kind


def _reseed(sampler: BaseSampler, seed: int) -> None:
    """Let all chance in `sampler` come from `seed`; its own `reseed_rng` takes fresh chance."""
    for value in vars(sampler).values():
        chance = getattr(value, "rng", value)  # within Optuna's LazyRandomState, or itself
        if isinstance(chance, np.random.RandomState):
            chance.seed(seed)
        elif isinstance(value, BaseSampler):
            _reseed(value, seed)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Optuna says of experimental arguments and of samplers that fall back, once a proposal."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


class _Board:
    """Our trials as an Optuna study in memory.

    Optuna refuses to change a trial that has ended, but ours go on. So they are changed in place: Optuna's storage in
    memory hands out the objects that it holds (from 4.0 to 5.0; the tests would tell). The last trial may be a blank
    one, on which a sampler was asked; it becomes the next that is started, so that asking leaves no trace.
    """

    def __init__(self, space: Space, *, prunes: bool) -> None:
        self._space, self._prunes = space, prunes
        self._distributions = {name: _distributions(name, parameter) for name, parameter in space.items()}
        self._storage = InMemoryStorage()
        with _quiet():
            self._study = self._storage.create_new_study([StudyDirection.MINIMIZE], "rungwise")
        self._ids: dict[int, int] = {}  # our number of a trial -> Optuna's
        self._blank: int | None = None

    def start(self, trial: int, config: Config, *, clean: bool) -> None:
        """`trial` runs; what a sampler noted on the blank trial is kept unless `clean`."""
        blank = self._blank_trial(clean=clean)
        blank.distributions = {each: of for name in config for each, of in self._distributions[name].items()}
        blank.params = dict(
            zip(
                blank.distributions,
                (each for name, value in config.items() for each in self._space[name].to_axes(value)),
                strict=True,
            )
        )
        assert self._blank is not None
        self._ids[trial], self._blank = self._blank, None

    def end(self, trial: int, result: Result) -> None:
        """`trial` has a result, perhaps its second at a higher rung."""
        losses = list(result.losses)
        directions = self._storage.get_study_directions(self._study)
        if len(losses) > len(directions):  # only now the number of metrics is known; so far all trials have failed
            directions[:] = [StudyDirection.MINIMIZE] * len(losses)
            for failed in self._storage.get_all_trials(self._study, deepcopy=False, states=[TrialState.COMPLETE]):
                failed.values = [math.inf] * len(losses)
        ended = self._storage.get_trial(self._ids[trial])
        ended.datetime_complete = ended.datetime_start
        if self._prunes and len(directions) == 1:
            ended.state = TrialState.PRUNED
            ended.intermediate_values = {result.level: losses[0]} if losses else {}
        else:
            ended.state = TrialState.COMPLETE
            ended.values = losses or [math.inf] * len(directions)

    def ask(self, sampler: BaseSampler, attributes: Mapping[str, Any]) -> Config:
        """What `sampler` says, the study having these `attributes`."""
        self._blank_trial(clean=True)
        assert self._blank is not None
        known = self._storage.get_study_system_attrs(self._study)
        known.clear()
        known.update(attributes)
        study = optuna.load_study(study_name="rungwise", storage=self._storage, sampler=sampler)
        trial = Trial(study, self._blank)
        config: Config = {}
        for name in self._space.parents_first:
            if self._space.exists(name, config):
                given = [_suggest(trial, each, of) for each, of in self._distributions[name].items()]
                config[name] = self._space[name].from_axes(given)
        return self._space.decode(self._space.encode(config))

    def attributes(self) -> dict[str, Any]:
        """What samplers have noted on the study."""
        return dict(self._storage.get_study_system_attrs(self._study))

    def _blank_trial(self, *, clean: bool) -> FrozenTrial:
        if self._blank is None:
            self._blank = self._storage.create_new_trial(self._study)
        blank = self._storage.get_trial(self._blank)
        if clean:
            blank.params, blank.distributions, blank.system_attrs = {}, {}, {}
        return blank


def _distributions(name: str, parameter: Parameter) -> dict[str, BaseDistribution]:
    """What Optuna knows of `parameter`, by name: the numbers that say a value. Choices go by their place.

    The names of its parts cannot be those of other parameters, which are printable.
    """
    return {f"{name}\n{part}" if part else name: _distribution(axis) for part, axis in parameter.axes().items()}


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.choices is not None:
        return CategoricalDistribution(range(axis.choices))
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
