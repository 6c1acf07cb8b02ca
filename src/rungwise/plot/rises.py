"""How far was anyone allowed, how large was the noise, and what decided? Rows of numbers for the ceiling."""

from __future__ import annotations

from typing import NamedTuple

from rungwise import explain
from rungwise.events import Raised
from rungwise.plot.studied import Studied
from rungwise.words import counted


class Step(NamedTuple):
    """In `bracket` the ceiling was `level` from the moment when `used` had been used; `why` it rose then, in words.

    `gap` is the difference that decided, `epsilon` the noise that it was held against.
    """

    bracket: int
    used: int
    level: int
    gap: float | None
    epsilon: float | None
    why: str


class Ceiling(NamedTuple):
    """The `steps`, those at 0 first; (used, ε) in `noise`; the resource `used` so far."""

    steps: list[Step]
    noise: list[tuple[int, float]]
    used: int


def ceiling(studied: Studied) -> Ceiling:
    """The ceiling of each bracket over the resource used; no steps if the scheduler has none that rises."""
    steps = [Step(place, 0, level, None, None, "") for place, level in enumerate(studied.begun.ceilings or ())]
    for state, fact in studied.folded():
        if isinstance(fact, Raised):
            why = explain.rise(fact)
            steps.append(Step(fact.bracket, state.resource_used, fact.until, fact.gap, fact.epsilon, why))
    return Ceiling(steps, studied.noise, studied.state.resource_used)


def caption(studied: Studied, found: Ceiling) -> str:
    """What the figure shows, in words."""
    state = studied.state
    name = state.created.scheduler.get("name")
    if not found.steps:
        most = "any resource" if state.max_resource is None else state.max_resource
        return f"{name} has no ceiling that rises: any trial may train to {most}."
    brackets = {step.bracket for step in found.steps}
    rises = [step for step in found.steps if step.why]
    tops = ", ".join(str(level) for level in state.ceilings or ())
    said = [f"The ceiling is {tops}" + (f" in {len(brackets)} brackets" if len(brackets) > 1 else "")]
    if not rises:
        return f"{said[0]}: it has never risen."
    said.append(f", after {counted(len(rises), 'rise')}.")
    last = rises[-1].why.splitlines()
    said.append(f" After {rises[-1].used} used, {last[0]}.")
    if len(last) > 1:
        said.append(f" First of these, {last[1].strip()}.")
    if found.noise and state.max_resource not in (state.ceilings or ()):
        said.append(f" Now ε = {explain.number(found.noise[-1][1])}.")
    return "".join(said)
