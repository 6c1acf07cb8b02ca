"""How many of a rung may go on? The papers' best 1/η, or patiently fewer until there are more results.

A rule is a pure function of the number of results, which never lets fewer go when there are more. May import `errors`,
`validation` and `core.named`.
"""

from __future__ import annotations

import math
from typing import Any, final

from rungwise.core.named import Named, made
from rungwise.errors import InputError
from rungwise.validation import real, whole


@final
class EagerPromotion(Named, frozen=True):
    """Of n results the first ⌊n/η⌋ may go on (ASHA, Algorithm 2; PASHA).

    >>> EagerPromotion().quota(31, 3)
    10
    """

    name = "eager"

    def quota(self, size: int, reduction_factor: float) -> int:
        """How many of a rung with `size` results may go on, by their ranks."""
        return math.floor(size / reduction_factor)


@final
class PatientPromotion(Named, frozen=True):
    """Of n results the first round(m − `deviations` · √m), m = n/η, may go on, and nobody while these are too few.

    A promotion cannot be undone, a postponed one can be made later. Of the best 1/η of all trials m are expected among
    the first n, give or take about √m: with `deviations` 1 as many go on as there are at least, most of the time. A
    half is rounded up. A rung opens when at least `opens_at` may go: with the defaults and η = 3 at 10 results.

    >>> PatientPromotion().quota(31, 3)
    7
    """

    name = "patient"
    deviations: float = 1.0
    opens_at: int = 2

    def __post_init__(self) -> None:
        if not 0 <= real(self.deviations, "deviations") <= 1e6:
            raise InputError(f"deviations must be from 0 to a million (1 is usual), not {self.deviations!r}")
        if whole(self.opens_at, "opens_at") < 1:
            raise InputError(f"opens_at must be 1 or more, not {self.opens_at!r}")

    def quota(self, size: int, reduction_factor: float) -> int:
        """How many of a rung with `size` results may go on, by their ranks."""
        m = size / reduction_factor
        first = math.floor(m - self.deviations * math.sqrt(m) + 0.5)
        return first if first >= self.opens_at else 0


Promotion = EagerPromotion | PatientPromotion

PROMOTIONS: dict[str, type[Any]] = {kind.name: kind for kind in (EagerPromotion, PatientPromotion)}

EAGER = EagerPromotion()


def as_promotion(given: Promotion | str | dict[str, Any]) -> Promotion:
    """A rule from itself, its name ("eager", "patient"), or its settings.

    >>> as_promotion({"name": "patient", "deviations": 0.5})
    PatientPromotion(deviations=0.5, opens_at=2)

    Raises `InputError` for an unknown name or argument, and for invalid values.
    """
    if isinstance(given, EagerPromotion | PatientPromotion):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, dict):
        raise InputError(f"promotion must be 'eager', 'patient', or rw.PatientPromotion(deviations=0.5), not {given!r}")
    arguments = dict(given)
    found: Promotion = made("promotion", PROMOTIONS, arguments.pop("name", None), arguments)
    return found
