"""Does what you wrote keep the rules? Conformance suites for parts of your own, and for training.

For a part, each `check_…` raises `AssertionError` at the first rule that is broken, with a sentence that names it.
`check_training` says in words whether pausing changes what your function reports.
"""

from rungwise.testing.executor import check_executor
from rungwise.testing.log import check_log
from rungwise.testing.scheduler import check_scheduler
from rungwise.testing.searcher import check_searcher
from rungwise.testing.store import check_store
from rungwise.testing.training import TrainingReport, check_training

__all__ = [
    "TrainingReport",
    "check_executor",
    "check_log",
    "check_scheduler",
    "check_searcher",
    "check_store",
    "check_training",
]
