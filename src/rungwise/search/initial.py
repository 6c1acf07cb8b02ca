"""What to try first? Configurations that the user names and the best of an earlier study; then a searcher's choice.

May import `events`, `errors`, `space`, `validation` and `search`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from rungwise.errors import InputError
from rungwise.events import Config, Event, Promoted, Result, Started
from rungwise.parts import takes_several_metrics
from rungwise.search import Searcher, as_searcher, settings_of
from rungwise.search.results import Results, as_key, best
from rungwise.space import Rng, Space
from rungwise.validation import plain, whole


@final
class InitialSearch:
    """Proposes `points`, then the best configuration of an `earlier` study, then `searcher`'s proposals.

    At the beginning, `searcher` is told the trials of the earlier study as if they were its own, numbered -1, -2, ….
    Each trial is a dict: "config", and "results", a list of [level, loss] at the rungs that it completed. A non-finite
    loss is None, as is the last loss of a failed trial. Parameters that `space` does not have are dropped from the
    configurations; those that then do not fit are omitted and counted in `left_out`.

    >>> from rungwise.parameters import Float
    >>> earlier = [{"config": {"x": 0.7}, "results": [[1, 0.2]]}, {"config": {"x": 7}, "results": [[1, 0.1]]}]
    >>> first = InitialSearch(Space({"x": Float(0, 1)}), "random", points=[{"x": 0.5}], earlier=earlier)
    >>> first.points, first.left_out
    ([{'x': 0.5}, {'x': 0.7}], 1)

    Raises `InputError` for a point that is not in the space, and if no earlier configuration fits it.
    """

    name = "first"

    def __init__(
        self,
        space: Space,
        searcher: Searcher | str | dict[str, Any] = "random",
        *,
        points: Sequence[Mapping[str, Any]] = (),
        earlier: Sequence[Mapping[str, Any]] = (),
        left_out: int = 0,
    ) -> None:
        self.space = space
        self.searcher = as_searcher(searcher, space)
        self._given = _checked(points, space)
        self._earlier, self.left_out = _fitting(earlier, space, left_out)
        told = Results()
        for event in _events(self._earlier):
            told.tell(event)
            self.searcher.tell(event)
        finished = {trial: result for trial, result in told.results.items() if result.losses}
        winners = [told.configs[trial] for trial in best(finished)[:1]]
        self.points = list({as_key(point): point for point in [*self._given, *winners]}.values())
        self._left = {as_key(point): point for point in self.points}

    def propose(self, rng: Rng) -> Config | None:
        """The next point, or what the searcher says."""
        if self._left:
            return dict(next(iter(self._left.values())))
        return self.searcher.propose(rng)

    def tell(self, event: Event) -> None:
        """Take one event, for the searcher too."""
        if isinstance(event, Started):
            self._left.pop(as_key(event.config), None)
        self.searcher.tell(event)

    @property
    def several_metrics(self) -> bool:
        """Whether the searcher that it wraps is for several."""
        return takes_several_metrics(self.searcher)

    def settings(self) -> dict[str, Any]:
        """All that makes an equal one, as plain JSON: the earlier study is not needed again."""
        return {
            "searcher": settings_of(self.searcher),
            "points": self._given,
            "earlier": self._earlier,
            "left_out": self.left_out,
        }


def _checked(points: object, space: Space) -> list[Config]:
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise InputError(f"initial must be a list of configurations, not {points!r:.80}")
    checked = []
    for number, point in enumerate(points, start=1):
        if not isinstance(point, Mapping):
            raise InputError(f"initial configuration {number} must be a dict of values, not {point!r:.80}")
        try:
            checked.append(space.check(point))
        except InputError as error:
            raise InputError(f"initial configuration {number}: {error}") from None
        if not space.allows(checked[-1]):
            raise InputError(f"initial configuration {number} is forbidden: {point!r}")
    return checked


def _fitting(earlier: Sequence[Mapping[str, Any]], space: Space, left_out: int) -> tuple[list[dict[str, Any]], int]:
    """The trials whose configurations are in `space`, once what it does not have is taken out of them."""
    fitting, wrong = [], None
    for trial in earlier:
        try:
            config = space.check({name: value for name, value in trial["config"].items() if name in space})
        except InputError as error:
            wrong = wrong or error
        else:
            results = [[whole(level, "a level"), plain(loss, "a loss")] for level, loss in trial["results"]]
            fitting.append({"config": config, "results": results})
    if wrong is not None and not fitting:
        raise InputError(f"none of the {len(earlier)} configurations of the earlier study fits this space: {wrong}")
    return fitting, left_out + len(earlier) - len(fitting)


def _events(earlier: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    """What happened in the earlier study, as a searcher is told it."""
    for number, trial in enumerate(earlier, start=1):
        for place, (level, given) in enumerate(trial["results"]):
            losses = tuple(given) if isinstance(given, list) else (math.inf if given is None else given,)
            yield Promoted(-number, level) if place else Started(-number, trial["config"], level)
            yield Result(-number, level, losses)
