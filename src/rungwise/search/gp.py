"""What to try next? The configuration with the largest expected improvement under a Gaussian process.

The model-based search of MOBSTER (Klein, Tiao, Lienart, Archambeau, Seeger: Model-based asynchronous hyperparameter and
neural architecture search, 2020; https://arxiv.org/abs/2003.10865), which PASHA's section 5 uses: one Gaussian process
over configuration and log-resource, so that what was seen at low rungs tells of the highest one. Built on BoTorch and
GPyTorch (the extra `gp`), which are imported here only. Torch draws no random numbers: all chance is numpy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, final

import msgspec
import numpy as np
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray

from rungwise.errors import InputError, our_names
from rungwise.events import Config, Event, Promoted, Result, Started
from rungwise.parameters import Parameter
from rungwise.space import Rng, Space
from rungwise.validation import real, whole

Array = NDArray[np.float64]
Point = list[float]
Losses = tuple[float, ...]

FITTED = 128  # results that lengthscales and noise are fitted to: they need fewer than the predictions do
ITERATIONS = 10  # of L-BFGS; more change the lengthscales, hardly the predictions
SAMPLES = 400  # candidates drawn from the space
CENTERS, NEAR, ROUNDS = 8, 20, 3  # candidates near the best trials, then near the best candidates, which climb so


@final
class GPSearch:
    """Bayesian optimization over `space`: a Gaussian process, multi-fidelity and asynchronous.

    *Data*: the last report of each completed job (a trial's results at its rungs), at most `observations` of them:
    those at the highest rungs, within a rung the newest. A failed job counts as the worst result so far. Losses are
    clipped and standardized; see `targets`. *Model*: Matérn 5/2 with a lengthscale for each feature and for
    log-resource, noise, and BoTorch's priors on these (Hvarfner, Hellsten, Nardi: Vanilla Bayesian optimization
    performs great in high dimensions, ICML 2024). It is fitted again whenever the results have grown by about an
    eighth, always from the prior's mode and the results at that time, so that a resumed study proposes the same.
    *Choice*: log expected improvement at the highest rung with results, over the lowest mean predicted there for any
    trial. Running trials count as results there, as good as predicted (kriging believer).

    Until `initial` trials have results, proposals are drawn from the space. `prior_weight` is β of πBO (Hvarfner et
    al., ICLR 2022): the user's prior density to the power of β/n multiplies the expected improvement of the n-th
    proposal. With several metrics, each proposal minimizes its own augmented Tchebycheff scalarization (ParEGO;
    Knowles, 2006).

    >>> from rungwise.parameters import Float
    >>> search = GPSearch(Space({"x": Float(0, 1)}), initial=3)
    >>> for trial, x in enumerate([0.1, 0.5, 0.9]):
    ...     for event in (Started(trial, {"x": x}, 1), Result(trial, 1, ((x - 0.6) ** 2,))):
    ...         search.tell(event)
    >>> 0.55 < search.propose([0, 3])["x"] < 0.75
    True

    Raises `InputError` for `initial` or `observations` below 2, for a negative `prior_weight`, and without BoTorch.
    """

    name = "gp"
    several_metrics = True

    @our_names()
    def __init__(self, space: Space, *, initial: int = 8, observations: int = 250, prior_weight: float = 10.0) -> None:
        for name, value in (("initial", initial), ("observations", observations)):
            if whole(value, name) < 2:
                raise InputError(f"{name} must be 2 or more, not {value!r}")
        if real(prior_weight, "prior_weight") < 0:
            raise InputError(f"prior_weight must be 0 or more, not {prior_weight!r}")
        self.space = space
        self.initial, self.observations = whole(initial, "initial"), whole(observations, "observations")
        self.prior_weight = real(prior_weight, "prior_weight")
        self._features = _Features(space)
        self._configs: dict[int, Config] = {}
        self._points: dict[int, Point] = {}  # trial -> its features
        self._known: set[bytes] = set()  # keys of all configurations that were ever started
        self._running: dict[int, None] = {}  # trials, in the order in which their jobs began
        self._results: dict[int, list[tuple[int, int, Losses]]] = {}  # level -> (place among all, trial, losses)
        self._count = 0
        self._metrics = 1
        self._finished: set[int] = set()
        self._fit: tuple[object, Any] | None = None  # what it was fitted to, and the model

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {
            "initial": self.initial,
            "observations": self.observations,
            "prior_weight": self.prior_weight,
        }

    def tell(self, event: Event) -> None:
        """Take one event; the data are the results of jobs that end."""
        match event:
            case Started(trial, config):
                self._configs[trial] = config
                self._points[trial] = self._features(config)
                self._known.add(_key(config))
                self._running[trial] = None
            case Promoted(trial):
                self._running[trial] = None
            case Result(trial, level, losses):
                self._metrics = max(self._metrics, len(losses))
                del self._running[trial]
                self._results.setdefault(level, []).append((self._count, trial, losses))
                self._count += 1
                self._finished.add(trial)

    def propose(self, rng: Rng) -> Config:
        """A configuration that was not proposed before, if one can be found."""
        generator = np.random.default_rng(rng)
        if len(self._finished) < self.initial:
            return self._drawn(generator)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # faster for matrices this small; and rounding must not depend on the machine's cores
        try:
            return self._chosen(generator)
        finally:
            torch.set_num_threads(threads)

    def _drawn(self, rng: np.random.Generator) -> Config:
        """A new configuration from the space; a known one if a thousand are."""
        for _ in range(1_000):
            config = self.space.sample(rng)
            if _key(config) not in self._known:
                break
        return config

    def _chosen(self, rng: np.random.Generator) -> Config:
        """The best candidate of those drawn, those near the best trials, and those near the best candidates."""
        best, improvement = self._improvement(rng.dirichlet(np.ones(self._metrics)))
        strength = self.prior_weight / len(self._configs)
        values: dict[bytes, float] = {}
        pool: dict[bytes, Config] = {}
        new, centers = [self.space.sample(rng) for _ in range(SAMPLES)], [self._configs[trial] for trial in best]
        for _ in range(ROUNDS):
            new += [near for center in centers for near in neighbors(self.space, center, NEAR, rng)]
            fresh = {key: config for config in new if (key := _key(config)) not in self._known and key not in pool}
            if fresh:
                acquisition = improvement([self._features(config) for config in fresh.values()])
                if strength > 0:  # 0 times the logarithm of 0 is no number
                    acquisition += strength * np.array([self.space.log_prior(config) for config in fresh.values()])
                values.update(zip(fresh, acquisition.tolist(), strict=True))
                pool.update(fresh)
            centers, new = [pool[key] for key in sorted(pool, key=lambda key: -values[key])[: CENTERS // 2]], []
        return centers[0] if centers else self._drawn(rng)

    def _improvement(self, weights: Array) -> tuple[list[int], Callable[[list[Point]], Array]]:
        """The trials with the lowest means at the highest level, and log expected improvement there."""
        model = self._fitted(weights)
        trials, features, losses = self._data(self._count, self.observations, weights)
        model.set_train_data(torch.as_tensor(features), torch.as_tensor(losses), strict=False)
        top = features[:, -1].max()

        def there(points: Iterable[Point]) -> torch.Tensor:
            return torch.tensor([[*point, top] for point in points], dtype=torch.float64)

        def improvement(points: list[Point]) -> Array:
            with torch.no_grad():
                values: Array = acquisition(there(points)[:, None]).numpy()
            return values

        trials = list(dict.fromkeys(trials))
        with torch.no_grad():
            means = model.posterior(there(self._points[trial] for trial in trials)).mean[:, 0]
            lowest = means.min()
            if self._running:
                pending = there(self._points[trial] for trial in self._running)
                believed = model.posterior(pending).mean[:, 0]
                lowest = min(lowest, believed.min())
                inputs, outputs = model.train_inputs[0], model.train_targets
                model.set_train_data(torch.cat([inputs, pending]), torch.cat([outputs, believed]), strict=False)
        acquisition = LogExpectedImprovement(model, best_f=lowest, maximize=False)
        return [trials[i] for i in np.argsort(means.numpy(), kind="stable")[:CENTERS]], improvement

    def _data(self, upto: int, bound: int, weights: Array) -> tuple[list[int], Array, Array]:
        """At most `bound` of the first `upto` results: trials, features with the level's place last, targets."""
        rows = [
            (trial, level, loss)
            for level in sorted(self._results, reverse=True)
            for trial, loss in islice(
                ((trial, loss) for place, trial, loss in reversed(self._results[level]) if place < upto), bound
            )
        ][:bound]
        highest = math.log(max(self._results)) or 1.0
        features = [[*self._points[trial], math.log(level) / highest] for trial, level, _ in rows]
        losses = np.array([np.broadcast_to(loss, len(weights)) for _, _, loss in rows])
        return [trial for trial, _, _ in rows], np.array(features), targets(losses, weights)

    def _fitted(self, weights: Array) -> Any:
        """The model, fitted to the results as they were when their number was last a multiple of its step."""
        step = 2 ** max(0, self._count.bit_length() - 4)  # 8–15: 1, 16–31: 2, 32–63: 4, …
        upto = self._count - self._count % step
        key = (upto, max(self._results), *weights)
        if self._fit is None or self._fit[0] != key:
            _, features, losses = self._data(upto, FITTED, weights)
            self._fit = key, fitted(features, losses)
        return self._fit[1]


def targets(losses: Array, weights: Array) -> Array:
    """What the model is to learn: `losses`, shape (results, metrics), as one robust column of mean 0 and variance 1."""
    columns = np.column_stack([_standardized(column) for column in losses.T])
    if len(weights) == 1:
        return columns[:, 0]
    low, high = columns.min(axis=0), columns.max(axis=0)
    weighted = weights * (columns - low) / np.where(high > low, high - low, 1.0)
    return _standardized(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))  # ParEGO, eq. 2


def _standardized(losses: Array) -> Array:
    """Losses that are not finite as the worst finite one, then log(1 + (loss - best) / unit), mean 0, variance 1.

    `unit` is the 90% quantile of the differences to the best, at most ten times their median, so that it matters
    neither in what the loss is measured nor how far training diverged; more than ten units count as ten. The logarithm
    leaves more of the resolution to good losses. A smaller unit would leave them too much: where many results crowd
    around one optimum, all else would look hopeless.
    """
    finite = losses[np.isfinite(losses)]
    if len(finite) == 0 or finite.min() == finite.max():
        return np.zeros(len(losses))
    excess = np.where(np.isfinite(losses), losses, finite.max()) - finite.min()
    median, high = np.quantile(excess, [0.5, 0.9])
    unit = min(high, 10 * median) or high or excess.max()
    logs = np.log1p(np.minimum(excess, 10 * unit) / unit)
    standard: Array = (logs - logs.mean()) / logs.std()
    return standard


def neighbors(space: Space, config: Config, count: int, rng: np.random.Generator) -> Iterator[Config]:
    """Allowed configurations near `config`: one parameter drawn anew, or about half of them moved a little.

    A parameter that has neighbors, a `Cell`, becomes one of them, in both.
    """
    center = space.encode(config)
    absent = np.array([name not in config for name in space])
    for number in range(count):
        point = np.where(absent, rng.random(len(space)), center)
        if number % 2:
            moved = np.arange(len(space)) == rng.integers(len(space))
            point[moved] = rng.random()
        else:
            size = 10 ** rng.uniform(-2, -1)
            moved = rng.random(len(space)) < 0.5
            point = np.clip(point + moved * rng.normal(0, size, len(space)), 0, 1)
        for place, (name, parameter) in enumerate(space.items()):
            if moved[place] and not absent[place]:
                near = parameter.neighbor(config[name], rng)
                point[place] = point[place] if near is None else parameter.encode(near)
        near = space.decode(point)
        if space.allows(near):
            yield near


def fitted(features: Array, losses: Array) -> Any:
    """A Gaussian process whose lengthscales and noise maximize the posterior, begun at their prior's mode."""
    kernel = get_covar_module_with_dim_scaled_prior(features.shape[1], use_rbf_kernel=False)  # Matérn 5/2
    model = SingleTaskGP(
        torch.as_tensor(features), torch.as_tensor(losses)[:, None], covar_module=kernel, outcome_transform=None
    )
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    fit_gpytorch_mll_scipy(likelihood, options={"maxiter": ITERATIONS})
    model.eval()
    return model


@final
class _Features:
    """What the model sees of a configuration: the features of each parameter.

    A conditional parameter has one more, 1 where it exists; where it does not, its own are at a constant.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._absent = {name: [0.5] * len(each.features(each.decode(0.5))) for name, each in space.items()}
        self._seen: dict[tuple[str, bytes], Point] = {}  # of what takes time to compare or to count

    def __call__(self, config: Config) -> Point:
        row: Point = []
        for name, parameter in self._space.items():
            if parameter.condition:
                row.append(float(name in config))
            row += self._of(name, parameter, config[name]) if name in config else self._absent[name]
        return row

    def _of(self, name: str, parameter: Parameter, value: Any) -> Point:
        if isinstance(value, int | float):
            return parameter.features(value)
        key = (name, _key(value))
        if key not in self._seen:
            self._seen[key] = parameter.features(value)
        return self._seen[key]


def _key(value: object) -> bytes:
    """JSON, the same for equal values: 1, 1.0 and true are three."""
    return msgspec.json.encode(value, order="sorted")
