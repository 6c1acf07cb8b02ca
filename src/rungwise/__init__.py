"""Rungwise: hyperparameter optimization that spends only as much training as the answer needs.

tune          run a study of your function on local processes
Study         a study whose loop you own: ask, report, best, explain
forecast      what a study will still cost, in resource, time, and money
simulate      run a scheduler over a CurveTable on a virtual clock, with workers or a virtual Cluster

Parameters    Float, Integer, Categorical, Ordinal, Cell (of a network); a Space of them
Schedulers    PASHA (the default), ASHA, StoppingASHA, SuccessiveHalving, Hyperband, AsyncHyperband, MedianStoppingRule,
              FullTraining
Rankings      ranking("soft"), ranking("rbo", p=0.9), …: when PASHA takes two rungs to agree
Searchers     RandomSearch, SobolSearch, GridSearch, DensitySearch, EvolutionSearch, OptunaSearch, GPSearch,
              InitialSearch, ScreenedSearch
Looking       Study.open, Study.plot; OptunaStorage, for Optuna's functions and its dashboard
Your side     Trial, what your function is handed; Command, any program in its place
Errors        InputError, what you gave; StudyError, a file that cannot be used
"""

from typing import TYPE_CHECKING, Any

from rungwise.cluster import Cluster, ClusterUse
from rungwise.contenders import Contenders
from rungwise.core import Scheduler
from rungwise.core.asha import ASHA
from rungwise.core.criteria import ranking
from rungwise.core.halving import Hyperband, SuccessiveHalving
from rungwise.core.hyperband import AsyncHyperband
from rungwise.core.pasha import PASHA
from rungwise.core.promotion import PatientPromotion
from rungwise.core.ranking import DirectRanking, Ranking, SoftRanking
from rungwise.core.stopping import FullTraining, MedianStoppingRule, StoppingASHA
from rungwise.curves import CurveTable
from rungwise.errors import InputError
from rungwise.events import Job
from rungwise.executors.command import Command
from rungwise.executors.named import EXECUTORS
from rungwise.forecast import Forecast, forecast
from rungwise.log import StudyError
from rungwise.nas.cells import Cell
from rungwise.parameters import Categorical, Float, Integer, Ordinal, Parameter
from rungwise.parts import library
from rungwise.recommendation import Certainty
from rungwise.records import BestTrial, ParetoTrial, TrialRecord
from rungwise.run import tune
from rungwise.search import SEARCHERS, RandomSearch, Searcher
from rungwise.search.density import DensitySearch
from rungwise.search.evolution import EvolutionSearch
from rungwise.search.grid import GridSearch
from rungwise.search.initial import InitialSearch
from rungwise.search.screened import ScreenedSearch
from rungwise.simulate import Simulation, simulate
from rungwise.space import Space
from rungwise.study import Study
from rungwise.trial import Trial
from rungwise.version import __version__

if TYPE_CHECKING:
    from rungwise.executors.dask import DaskExecutor as DaskExecutor
    from rungwise.executors.ray import RayExecutor as RayExecutor
    from rungwise.executors.slurm import SlurmExecutor as SlurmExecutor
    from rungwise.optuna_storage import OptunaStorage as OptunaStorage
    from rungwise.search.gp import GPSearch as GPSearch
    from rungwise.search.optuna import OptunaSearch as OptunaSearch
    from rungwise.search.sobol import SobolSearch as SobolSearch

__all__ = [
    "ASHA",
    "PASHA",
    "AsyncHyperband",
    "BestTrial",
    "Categorical",
    "Cell",
    "Certainty",
    "Cluster",
    "ClusterUse",
    "Command",
    "Contenders",
    "CurveTable",
    "DensitySearch",
    "DirectRanking",
    "EvolutionSearch",
    "Float",
    "Forecast",
    "FullTraining",
    "GridSearch",
    "Hyperband",
    "InitialSearch",
    "InputError",
    "Integer",
    "Job",
    "MedianStoppingRule",
    "Ordinal",
    "Parameter",
    "ParetoTrial",
    "PatientPromotion",
    "RandomSearch",
    "Ranking",
    "Scheduler",
    "ScreenedSearch",
    "Searcher",
    "Simulation",
    "SoftRanking",
    "Space",
    "StoppingASHA",
    "Study",
    "StudyError",
    "SuccessiveHalving",
    "Trial",
    "TrialRecord",
    "__version__",
    "forecast",
    "ranking",
    "simulate",
    "tune",
]

_NEED_EXTRAS = {
    "DaskExecutor": (EXECUTORS, "dask"),
    "GPSearch": (SEARCHERS, "gp"),
    "OptunaSearch": (SEARCHERS, "optuna"),
    "RayExecutor": (EXECUTORS, "ray"),
    "SlurmExecutor": (EXECUTORS, "slurm"),
    "SobolSearch": (SEARCHERS, "sobol"),
}

_CALLED_BEFORE = {
    "Best": "BestTrial",
    "First": "InitialSearch",
    "MedianStopping": "MedianStoppingRule",
    "OnFront": "ParetoTrial",
    "Screened": "ScreenedSearch",
}
"""Names of 0.1, which go on working."""


def __dir__() -> list[str]:
    """All names, those of parts that need another library too."""
    return sorted({*globals(), *_NEED_EXTRAS, "OptunaStorage"})


def __getattr__(name: str) -> Any:
    """The parts that need another library; not in `__all__`, so that `import *` needs none."""
    if name in _NEED_EXTRAS:
        parts, part = _NEED_EXTRAS[name]
        return parts.named(part)
    if name == "OptunaStorage":
        return library("rungwise.optuna_storage", "OptunaStorage", "optuna").OptunaStorage
    if name in _CALLED_BEFORE:
        return globals()[_CALLED_BEFORE[name]]
    raise AttributeError(f"module 'rungwise' has no attribute {name!r}")
