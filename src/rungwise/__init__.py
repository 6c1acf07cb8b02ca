"""Rungwise: hyperparameter optimisation that spends only as much training as the answer needs.

tune          run a study of your function on local processes
Study         a study whose loop you own: ask, report, best, explain
simulate      run a scheduler over a CurveTable on a virtual clock

Parameters    Float, Integer, Categorical, Ordinal; a Space of them
Schedulers    PASHA (the default), ASHA
Rankings      SoftRanking, DirectRanking: when PASHA takes two rungs to agree
Searchers     RandomSearch, SobolSearch, GridSearch, EvolutionSearch, OptunaSearch, First
Your side     Trial, what your function is handed; Command, any program in its place
Errors        InputError, what you gave; StudyError, a file that cannot be used
"""

from typing import TYPE_CHECKING, Any

from rungwise.core import ASHA, PASHA, Scheduler
from rungwise.core.ranking import DirectRanking, SoftRanking
from rungwise.curves import CurveTable
from rungwise.events import Job
from rungwise.executors.command import Command
from rungwise.log import StudyError
from rungwise.names import InputError
from rungwise.run import tune
from rungwise.search import RandomSearch, Searcher, load
from rungwise.search.evolution import EvolutionSearch
from rungwise.search.first import First
from rungwise.search.grid import GridSearch
from rungwise.simulate import Simulation, simulate
from rungwise.space import Categorical, Float, Integer, Ordinal, Space
from rungwise.study import Best, Study, TrialRecord
from rungwise.trial import Trial
from rungwise.version import __version__

if TYPE_CHECKING:
    from rungwise.search.optuna import OptunaSearch as OptunaSearch
    from rungwise.search.sobol import SobolSearch as SobolSearch

__all__ = [
    "ASHA",
    "PASHA",
    "Best",
    "Categorical",
    "Command",
    "CurveTable",
    "DirectRanking",
    "EvolutionSearch",
    "First",
    "Float",
    "GridSearch",
    "InputError",
    "Integer",
    "Job",
    "Ordinal",
    "RandomSearch",
    "Scheduler",
    "Searcher",
    "Simulation",
    "SoftRanking",
    "Space",
    "Study",
    "StudyError",
    "Trial",
    "TrialRecord",
    "__version__",
    "simulate",
    "tune",
]

_NEED_EXTRAS = {"OptunaSearch": "optuna", "SobolSearch": "sobol"}


def __getattr__(name: str) -> Any:
    """The searchers that need another library; not in `__all__`, so that `import *` needs none."""
    if name in _NEED_EXTRAS:
        return load(_NEED_EXTRAS[name])
    raise AttributeError(f"module 'rungwise' has no attribute {name!r}")
