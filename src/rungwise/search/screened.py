"""What to try next? Of several proposals of a searcher the one for which a proxy, cheap to compute, says most.

Zero-cost proxies as a filter before training: Abdelfattah, Mehrotra, Dudziak and Lane, ICLR 2021, section 5.
May import `events`, `errors`, `space`, `validation` and `search`.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import msgspec
import numpy as np

from rungwise.errors import InputError
from rungwise.events import Config, Event, Started
from rungwise.parts import takes_several_metrics
from rungwise.search import Searcher, as_searcher, settings_of
from rungwise.search.agreement import rank_correlation
from rungwise.search.results import as_key
from rungwise.space import Rng, Space
from rungwise.validation import copied, whole

if TYPE_CHECKING:
    from rungwise.study import Study

Proxy = Callable[[Config], float]
ONE_AT_A_TIME = ("grid", "sobol")


class Helped(msgspec.Struct, frozen=True):
    """How much a proxy helped, judged by the trials' scores at `resource`.

    `correlation` is Spearman's rank correlation of proxy and score: 1 if the proxy ranks as training does, NaN if all
    are equal. `score_screened` is the mean score of the `screened` trials, which the proxy chose, and
    `score_unscreened` that of the `unscreened` trials, which it did not choose: their difference is what the proxy
    gained. NaN if there are no such trials.
    """

    resource: int
    correlation: float
    screened: int
    score_screened: float
    unscreened: int
    score_unscreened: float

    def __str__(self) -> str:
        return (
            f"the proxy's rank correlation with the score at {self.resource} is {self.correlation:.2f}; mean score "
            f"{self.score_screened:.4g} of {self.screened} screened trials, {self.score_unscreened:.4g} of "
            f"{self.unscreened} that were not"
        )


@final
class ScreenedSearch:
    """Starts the best, by `proxy(config)`, of every `best_of` proposals of `searcher`.

    `proxy` is a function of a configuration, or its name as package.module:function; it must be deterministic. Every
    `control`-th trial starts unscreened (0: none), so that `helped` can measure the proxy. Among equals the first
    proposal wins; NaN ranks lowest. `space` is the search space.

    >>> from rungwise.parameters import Integer
    >>> def proxy(config):
    ...     return config["width"]
    >>> ScreenedSearch(Space({"width": Integer(1, 99)}), proxy, best_of=8).propose([0, 0])
    {'width': 89}

    Raises `InputError` for a searcher that repeats its proposal until it is started ("grid", "sobol"), for `best_of`
    below 2, and for a proxy without a name (a `functools.partial`). Raises it at the first proposal if a proxy given by
    name cannot be imported, or does not return a number.
    """

    name = "screened"

    def __init__(
        self,
        space: Space,
        proxy: Proxy | str,
        searcher: Searcher | str | dict[str, Any] = "random",
        *,
        best_of: int = 4,
        control: int = 5,
    ) -> None:
        self.space = space
        self.searcher = as_searcher(searcher, space)
        if (inner := settings_of(self.searcher)["name"]) in ONE_AT_A_TIME:
            raise InputError(f"the searcher {inner!r} proposes one configuration at a time: there is nothing to screen")
        if whole(best_of, "best_of") < 2 or whole(control, "control") < 0:
            raise InputError(f"best_of must be 2 or more and control 0 or more, not {best_of!r} and {control!r}")
        if isinstance(proxy, str) and not all(proxy.partition(":")):
            raise InputError(f"name the proxy as package.module:function, not {proxy!r}")
        if not isinstance(proxy, str) and not hasattr(proxy, "__qualname__"):  # the study's file needs its name
            raise InputError(f"the proxy must be a function or its name, not {proxy!r}; wrap it in a function")
        self.best_of, self.control = best_of, control
        self._proxy = proxy
        self._name = proxy if isinstance(proxy, str) else f"{proxy.__module__}:{proxy.__qualname__}"
        self._said: dict[str, float] = {}
        self._started = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> ScreenedSearch:
        """Shares the proxy, which may hold what cannot be copied; it says the same each time."""
        twin = copy.copy(self)
        twin.searcher, twin._said = copy.deepcopy(self.searcher, memo), dict(self._said)
        return twin

    def propose(self, rng: Rng) -> Config | None:
        """The best of the proposals, or the first of them where it is the turn of an unscreened trial."""
        count = self.best_of if self._screens(self._started) else 1
        if isinstance(rng, np.random.Generator):
            proposed = [self.searcher.propose(rng) for _ in range(count)]
        else:  # proposals of one study never share their chance
            *study, number = rng
            proposed = [self.searcher.propose([*study, number * self.best_of + each]) for each in range(count)]
        found = [config for config in proposed if config is not None]
        return max(found, key=self.proxy, default=None) if count > 1 else next(iter(found), None)

    def proxy(self, config: Config) -> float:
        """What the proxy says of `config`; asked once."""
        key = as_key(config)
        if key not in self._said:
            if isinstance(self._proxy, str):
                self._proxy = _imported(self._proxy)
            said = self._proxy(copied(config))
            try:
                said = float(said)
            except (TypeError, ValueError):
                raise InputError(f"the proxy {self._name!r} must return a number, not {said!r}") from None
            self._said[key] = -math.inf if math.isnan(said) else said
        return self._said[key]

    def _screens(self, trial: int) -> bool:
        return self.control == 0 or trial % self.control != self.control - 1

    def tell(self, event: Event) -> None:
        """Take one event, for the searcher too."""
        self._started += isinstance(event, Started) and event.trial >= 0
        self.searcher.tell(event)

    def helped(self, study: Study, resource: int | None = None) -> Helped:
        """How much the proxy helped in `study`, judged at `resource`; without one, at the lowest rung.

        Configurations from `initial=` do not count. Raises `InputError` for a study with several metrics, or if no
        trial has a finite score there.
        """
        if study.metrics.names:
            raise InputError("a proxy is judged by one metric, but this study has several")
        if resource is None:
            resource = min((level for level, *_ in study.rungs()), default=0)
        named = len(getattr(study.searcher, "points", ()))
        scores = {
            record.number: record.reports[resource]
            for record in study.trials[named:]
            if math.isfinite(record.reports.get(resource, math.nan))
        }
        if not scores:
            raise InputError(f"no trial has a finite score at {resource}")
        sign = 1 if study.mode == "max" else -1
        correlation = rank_correlation(
            [self.proxy(study.trials[number].config) for number in scores], [sign * score for score in scores.values()]
        )
        chosen, others = (
            [score for number, score in scores.items() if self._screens(number) is wanted] for wanted in (True, False)
        )
        return Helped(resource, correlation, len(chosen), _mean(chosen), len(others), _mean(others))

    @property
    def several_metrics(self) -> bool:
        """Whether the searcher that it wraps is for several."""
        return takes_several_metrics(self.searcher)

    def settings(self) -> dict[str, Any]:
        """All that makes an equal one, as plain JSON; of the proxy its name."""
        return {
            "proxy": self._name,
            "searcher": settings_of(self.searcher),
            "best_of": self.best_of,
            "control": self.control,
        }


def _imported(name: str) -> Proxy:
    module, _, attribute = name.partition(":")
    try:
        proxy: Proxy = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the proxy {name!r} cannot be imported: {error}") from None
    return proxy


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores) if scores else math.nan
