"""What has a name and arguments: how a part of a scheduler is given, and what is noted of it.

May import `errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from rungwise.errors import InputError, suggestion


class Named(msgspec.Struct, frozen=True):
    """A rule whose fields are its arguments."""

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Its name and arguments as plain JSON."""
        return {"name": self.name, **msgspec.structs.asdict(self)}


def made(what: str, kinds: Mapping[str, type[Any]], name: object, arguments: Mapping[str, Any]) -> Any:
    """The one of `kinds` that is called `name`, with `arguments`; `what` says in an `InputError` what it would be."""
    if not isinstance(name, str) or name not in kinds:
        raise InputError(f"there is no {what} {name!r}{suggestion(str(name), kinds)}")
    kind = kinds[name]
    for argument in arguments:
        if argument not in kind.__struct_fields__:
            meant = suggestion(argument, kind.__struct_fields__)
            raise InputError(f"the {what} {name!r} has no argument {argument!r}{meant}")
    return kind(**arguments)
