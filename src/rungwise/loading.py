"""Which function? One in a file or a module, named as `train.py:train` or `package.module:train`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, final

from rungwise.errors import InputError, suggestion
from rungwise.executors.reasons import reason
from rungwise.trial import IMPORTING, Trial


def load_attribute(target: str) -> Any:
    """What `file.py:name` or `package.module:name` names; the file's folder is importable from then on.

    Raises `InputError` if there is no such file, module or name, or if importing it fails.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise InputError(f"name the function as train.py:train or package.module:train, not {target!r}")
    IMPORTING.set()
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    finally:
        IMPORTING.clear()
    if not hasattr(module, name):
        names = [known for known in vars(module) if not known.startswith("_")]
        raise InputError(f"{place} has no {name!r}{suggestion(name, names)}")
    return getattr(module, name)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path} (looked in {Path.cwd()})")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {path} failed: {reason(error)}") from error
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {name} failed: {reason(error)}") from error


@final
class NamedFunction:
    """A training function by its name; in another process it is loaded anew from there."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._function: Callable[[Trial], object] = load_attribute(target)

    def __call__(self, trial: Trial) -> object:
        """Call the function."""
        return self._function(trial)

    def __reduce__(self) -> tuple[type[NamedFunction], tuple[str]]:
        return NamedFunction, (self.target,)

    @property
    def function(self) -> Callable[[Trial], object]:
        """The function itself."""
        return self._function
