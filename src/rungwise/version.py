"""The version of this package, read by the build and written into every study; and which of two is newer."""

import re

__version__ = "0.1.0"


def parts(version: str) -> tuple[int, ...]:
    """The numbers of `version`, whatever follows them aside; none for what is no version.

    >>> parts("0.10.1.dev3"), parts("new")
    ((0, 10, 1), ())
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9}){0,9})(?:[a-z.+][a-z0-9.+]{0,30})?", version)
    return () if found is None else tuple(int(part) for part in found[1].split("."))


def is_newer(version: str) -> bool:
    """Whether `version` is newer than this one."""
    return parts(version) > parts(__version__)
