"""How does Optuna look at a study of ours? Through a storage that only reads: `optuna.load_study` and its dashboard.

Needs `pip install 'rungwise[optuna]'`. May import `optuna_trials`, `watched`, and `replay`.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Container, Sequence
from typing import Any, NoReturn, final

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from rungwise import replay
from rungwise.errors import InputError
from rungwise.events import Completed, Failed, Opened, Started
from rungwise.log import StudyError
from rungwise.optuna_trials import Moments, study_attributes, trial_of, waiting
from rungwise.state import StudyState
from rungwise.validation import whole
from rungwise.watched import watched

EVERY = 1.0  # seconds between two looks at the file
ID = 0
"""The number of the one study in the storage."""
METRIC_NAMES = "study:metric_names"  # where Optuna keeps what `Study.set_metric_names` was given


@final
class OptunaStorage(BaseStorage):
    """A study of ours as a storage of Optuna that holds one study, of the same name as the file, and only reads.

    `study` is a `Study`: one that you drive, or `Study.open(path)`, also while another process drives it. Whenever
    Optuna asks, the facts that are new are read, once a second at most. With `at`, a rung, Optuna sees the scores at
    that rung alone: importance and the like over trials that were trained for 1 and for 81 epochs compare what cannot
    be compared. `name` is what the study is called.

    >>> import optuna
    >>> import rungwise as rw
    >>> study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="min")
    >>> for score in (0.3, 0.2):
    ...     done = study.tell(study.ask(), score)
    >>> optuna.load_study(study_name=None, storage=OptunaStorage(study, at=1)).best_trial.number
    1

    Trials that are paused are running to Optuna, until the study has ended: it looks only once at trials that have
    finished. Whatever would change the study raises `StudyError`. Raises `InputError` for a rung that no trial has come
    to.
    """

    def __init__(self, study: Any, *, at: int | None = None, name: str | None = None) -> None:
        self._study = watched(study, "OptunaStorage")
        path = self._study.path
        self.name = name or ("rungwise" if path is None else path.stem)
        """What the study is called."""
        self._lock = threading.RLock()
        self._at: int | None = None
        self._state: StudyState = StudyState(self._study.state.created, self._study.state.space)
        self._facts = 1  # that have been read
        self._moments: list[Moments] = []
        self._trials: list[FrozenTrial] = []
        self._ended: int | None = None  # the rung of the answer, if nothing more will be done
        self._looked = 0.0
        self._look()
        if at is not None:
            levels = sorted(self._state.completed)
            if whole(at, "at") not in levels:
                there = f"the rungs are {', '.join(map(str, levels))}" if levels else "none was completed yet"
                raise InputError(f"no trial has completed the rung at={at!r}; {there}")
            self._at = whole(at, "at")
            self._convert(range(len(self._state.trials)))

    def _look(self) -> None:
        """Take in what is new."""
        changed: set[int] = set()
        known = self._facts
        for when, fact in self._study.facts(after=self._facts):
            self._facts += 1
            replay.apply(self._study.path, self._state, self._facts, fact, when)
            trial = getattr(fact, "trial", None)
            if isinstance(fact, Started):
                self._moments.append(Moments(when))
            elif isinstance(fact, Completed | Failed):
                self._moments[fact.trial] = self._moments[fact.trial]._replace(ended=when)
            if trial is not None:
                changed.add(trial)
            elif isinstance(fact, Opened):
                changed |= set(self._state.running)
        if self._facts > known and (ended := self._end()) != self._ended:
            self._ended = ended
            changed = set(range(len(self._state.trials)))
        self._convert(sorted(changed))
        self._looked = time.monotonic()

    def _end(self) -> int | None:
        """The rung of the answer if the study has ended, which only its scheduler knows."""
        state = self._state
        if state.running or state.queue or not state.has_best:
            return None
        self._study.refresh()
        if not self._study.finished:
            return None
        return state.answer_level if state.metrics.names else state.best.resource

    def _convert(self, numbers: Sequence[int]) -> None:
        state = self._state
        for number in numbers:
            record, moments = state.trials[number], self._moments[number]
            made = trial_of(record, state.space, state.metrics, moments, at=self._at, ended=self._ended)
            self._trials[number : number + 1] = [made]

    # -- what Optuna reads -------------------------------------------------------------------------

    def get_all_studies(self) -> list[FrozenStudy]:
        """The one study."""
        directions = self.get_study_directions(ID)
        told = self.get_study_user_attrs(ID), self.get_study_system_attrs(ID)
        return [FrozenStudy(self.name, None, *told, study_id=ID, directions=directions)]

    def get_study_id_from_name(self, study_name: str) -> int:
        """The number of the study, if it has this name."""
        if study_name != self.name:
            raise KeyError(f"there is no study {study_name!r} here, only {self.name!r}")
        return ID

    def get_study_name_from_id(self, study_id: int) -> str:
        """The name of the study."""
        self._check(study_id)
        return self.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Whether each metric is minimized or maximized."""
        self._check(study_id)
        mode = self._state.created.mode
        modes = [mode] if isinstance(mode, str) else list(mode.values())
        return [StudyDirection.MAXIMIZE if each == "max" else StudyDirection.MINIMIZE for each in modes]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The scheduler, and the rung."""
        self._check(study_id)
        return study_attributes(self._state.created.scheduler, self._at)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The names of the metrics."""
        self._check(study_id)
        where = "" if self._at is None else f" at {self._at}"
        return {METRIC_NAMES: [f"{name}{where}" for name in self._state.metrics.names or ("score",)]}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials, those that are enqueued last."""
        self._check(study_id)
        with self._lock:
            if time.monotonic() - self._looked >= EVERY:
                self._look()
            state = self._state
            queued = [waiting(n, config, state.space) for n, config in enumerate(state.queue, len(self._trials))]
            found = [trial for trial in [*self._trials, *queued] if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial of this number."""
        trials = self.get_all_trials(ID, deepcopy=False)
        if not 0 <= trial_id < len(trials):
            raise KeyError(f"there is no trial {trial_id}")
        return trials[trial_id]

    def _check(self, study_id: int) -> None:
        if study_id != ID:
            raise KeyError(f"there is no study {study_id} here, only {ID}")

    # -- what it may not write ---------------------------------------------------------------------

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise StudyError(
            f"Optuna can only look at {self.name}: Rungwise decides what is trained. "
            "study.enqueue(config), or rungwise enqueue, adds a configuration to try"
        )

    create_new_study = delete_study = create_new_trial = _refuse
    set_study_user_attr = set_study_system_attr = _refuse
    set_trial_param = set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse
