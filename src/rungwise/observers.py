"""Who watches a study? Observers: each is told the facts once they are durable, with the state that they have led to.

An observer is any callable that takes `(state, fact)`. It is called with every fact from the moment when it is added,
in order. `state` may already include later facts that were logged at the same moment. It must change neither. If it
raises, the logger "rungwise" says so, and it is not called again; it never ends the study. Facts from before it was
added, and those that a killed driver had not yet passed on, are in the log: `study.facts()`, `log.read(after=n)`.
May import what `state` may.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

from rungwise import explain
from rungwise.events import Fact
from rungwise.state import StudyState
from rungwise.words import shown

Observer = Callable[[StudyState, Fact], object]
LOGGER = logging.getLogger("rungwise")


@final
class Observers:
    """The observers of one study, and the facts that they have not been told yet."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self._news: list[Fact] = []
        self._telling = False
        self.watching = False  # whether anybody has ever observed

    def add(self, observer: Observer) -> None:
        """Tell `observer` what is noted from now on."""
        self._observers.append(observer)
        self.watching = True

    def noted(self, fact: Fact) -> None:
        """`fact` has been noted; it is not durable yet."""
        self._news.append(fact)

    def tell(self, state: StudyState) -> None:
        """What was noted is durable now."""
        if self._telling:
            return  # an observer has changed the study: that is told when all have heard what came before
        self._telling = True
        try:
            while self._news:
                news, self._news = self._news, []
                self._tell(state, news)
        finally:
            self._telling = False

    def _tell(self, state: StudyState, news: list[Fact]) -> None:
        for observer in list(self._observers):
            try:
                for fact in news:
                    observer(state, fact)
            except Exception as error:  # whatever it does: the study goes on
                self._observers.remove(observer)
                what = f"{type(error).__name__}: {error}"
                LOGGER.warning("the observer %r raised %s; it is not called again", observer, shown(what))


def log(state: StudyState, fact: Fact) -> None:
    """An observer that puts facts into words for the logger "rungwise": what trials do as INFO, reports as DEBUG."""
    level, words = explain.in_words(fact)
    LOGGER.log(level, words)
