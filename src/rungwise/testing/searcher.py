"""Does a searcher keep the rules that a study relies on? May import everything below it."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rungwise.conversion import as_space
from rungwise.errors import InputError
from rungwise.events import Config, Created, Event, Promoted, Report, Result, Started
from rungwise.parts import takes_several_metrics
from rungwise.search import Searcher, settings_of
from rungwise.search.intake import own
from rungwise.space import Space

COUNT = 24  # trials


def check_searcher(make: Callable[[Space], Searcher], space: Space | Mapping[str, Any], *, trials: int = COUNT) -> None:
    """Raise `AssertionError`, with a sentence, if the searchers of `make(space)` break a rule.

    Each proposes `trials` configurations and is told how they went (some fail, some are not finite, some are promoted):

    * `propose` is a query: asking twice, or in between, changes nothing.
    * All randomness comes from the given seed: the same seed and events give the same proposal, whatever the state of
      the global generators of `random` and NumPy. The seed is `[study's seed, trial]` or a generator.
    * Each proposal fits the space, or is None if nothing is left.
    * It changes neither the space nor an event.
    * `settings` is plain JSON without a "name". A searcher made from it, as `Class(space, **settings)`, and told the
      same events proposes the same, at the end and from half way on, so that a study can resume after a kill. A copy is
      independent.
    * With `several_metrics = True`, all this holds for tuples of losses too.

    `make` can be a class: `check_searcher(MySearch, space)`. Use fewer `trials` for a slow searcher.

    >>> from rungwise import Float, RandomSearch
    >>> check_searcher(RandomSearch, {"x": Float(0, 1)})
    """
    space = as_space(space)
    before = copy.deepcopy(space.to_dict())
    for metrics in (1, 2) if takes_several_metrics(make(space)) else (1,):
        _check(make, space, trials, metrics)
    assert space.to_dict() == before, "it changes the space"


def _check(make: Callable[[Space], Searcher], space: Space, trials: int, metrics: int) -> None:
    searcher = make(space)
    settings = searcher.settings()
    assert json.loads(json.dumps(settings)) == settings, f"settings() must be plain JSON, not {settings!r}"
    try:
        settings_of(searcher)
    except InputError as error:
        raise AssertionError(str(error)) from None
    copied = own(searcher)
    events, proposals = _run(searcher, space, trials, metrics)
    assert proposals, "it proposes nothing for the first trial"
    assert searcher.settings() == settings, "being told events changes its settings()"
    assert _run(make(space), space, trials, metrics)[1] == proposals, (
        "told the same, with the same seeds, two propose differently: chance must come from the seed alone"
    )
    assert _run(copied, space, trials, metrics)[1] == proposals, "a copy, made before it was told anything, differs"
    _check_again(searcher, space, events, trials)


def _made_of(searcher: Searcher, space: Space) -> Searcher:
    """One made of the settings of `searcher`, as a study's file does it."""
    try:
        made: Searcher = type(searcher)(space, **copy.deepcopy(searcher.settings()))  # type: ignore[call-arg]
    except TypeError as error:
        raise AssertionError(
            f"settings() must be what makes one, {type(searcher).__name__}(space, …): {error}"
        ) from None
    return made


def _check_again(searcher: Searcher, space: Space, events: list[Event], trials: int) -> None:
    """Whether those made of its settings and told `events` propose what it did and would."""
    again, curious = _made_of(searcher, space), _made_of(searcher, space)
    assert again.settings() == searcher.settings(), f"one made from settings() has others: {again.settings()!r}"
    for event in events:
        if isinstance(event, Started):
            curious.propose([0, 77])
            curious.propose(np.random.default_rng(4))
        for one in (again, curious):
            one.tell(copy.deepcopy(event))
    wanted = searcher.propose([0, trials])
    assert again.propose([0, trials]) == wanted, "one made from settings() and told the same proposes differently"
    assert curious.propose([0, trials]) == wanted, "asking in between changes what it proposes"
    drawn, redrawn = (searcher.propose(np.random.default_rng(4)) for _ in range(2))
    assert drawn == redrawn, f"given equal generators it proposes {drawn} and {redrawn}"
    half = next(n for n in range(len(events) // 2, -1, -1) if isinstance(events[n], Started))
    middle = _made_of(searcher, space)
    for number, event in enumerate(events):
        if number >= half and isinstance(event, Started):
            proposed = middle.propose([0, event.trial])
            assert proposed == event.config, f"opened again half way it proposes {proposed} for trial {event.trial}"
        middle.tell(event)


def _run(searcher: Searcher, space: Space, trials: int, metrics: int) -> tuple[list[Event], list[Config]]:
    """The events and the proposals of a study with two trials running at a time."""
    events: list[Event] = []
    proposals: list[Config] = []

    def tell(event: Event) -> None:
        before = copy.deepcopy(event)
        try:
            searcher.tell(event)
        except Exception as error:
            if metrics == 1:
                raise
            raise AssertionError(f"it has several_metrics = True, and tell({event}) raises {error!r}") from error
        assert event == before, f"it changes what it is told: {event}"
        events.append(event)

    def end(trial: int, level: int) -> None:
        if trial % 7 == 5:
            tell(Result(trial, level, (math.inf,) * metrics))
            return
        text = json.dumps(proposals[trial], sort_keys=True)
        loss = math.inf if trial % 7 == 6 else sum(map(ord, text)) % 97 / 97 + 1 / level  # any function of it
        losses = (loss, *[1 - loss] * (metrics - 1))
        for resource in range(1 if level == 1 else 2, level + 1):
            tell(Report(trial, resource, losses))
        tell(Result(trial, level, losses))

    mode: Any = "min" if metrics == 1 else {f"metric {n}": "min" for n in range(metrics)}
    tell(Created(space.to_dict(), {}, {}, mode, 0, "0", id="check"))
    for trial in range(trials):
        config = searcher.propose([0, trial])
        random.random()  # whoever draws from the global generators is found out
        np.random.random()
        again = searcher.propose([0, trial])
        assert again == config, f"asked twice for trial {trial}, it proposes {config} and {again}"
        if config is None:
            break
        _check_fits(config, space)
        proposals.append(copy.deepcopy(config))
        tell(Started(trial, config, 1))
        if trial:
            end(trial - 1, 1)
        if trial % 4 == 3 and (trial - 3) % 7 != 5:
            tell(Promoted(trial - 3, 3))
            end(trial - 3, 3)
    return events, proposals


def _check_fits(config: object, space: Space) -> None:
    assert isinstance(config, Mapping), f"it must propose a dict of values or None, not {config!r:.80}"
    try:
        fits = space.check(config)
    except InputError as error:
        raise AssertionError(f"it proposes {config!r:.200}, which does not fit the space: {error}") from None
    assert fits == config, f"it proposes {config!r:.200}, which the space reads as {fits!r:.200}"
    assert space.allows(config), f"it proposes {config!r:.200}, which is forbidden"
