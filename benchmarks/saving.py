"""How much training does the same final score take? Draws the picture of the README, and prints what it shows.

python benchmarks/saving.py [FOLDER]      (default: docs/figures)

PASHA and ASHA run as in `rungwise bench paper --suite digits-mlp --repeats 100`. Beside them random search trains each
configuration to the end, the same configurations in the same order, until its best is as good as PASHA's choice. The
training that the winner still lacks counts too. There is a file for light pages and one for dark ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rungwise as rw
from rungwise.bench.suites import load_suite

SUITE = "digits-mlp"
SEEDS = 100
TRIALS = 256
RESAMPLES = 2_000
WIDTH, HEIGHT, LEFT, LONGEST = 720, 176, 104, 500  # pixels; the last two: where the bars begin, and the longest one
COLORS = {  # text, faint text, search, training the winner
    "light": ("#1f2328", "#59636e", "#0969da", "#80ccff"),
    "dark": ("#f0f6fc", "#9198a1", "#4493f8", "#1f4e8c"),
}
Scores = NDArray[np.float64]


class Bar(NamedTuple):
    """Epochs and score of a method, means over tasks and seeds; `winner` is what its choice lacks to the end."""

    method: str
    search: float
    winner: float
    score: float


class Measured(NamedTuple):
    """What the picture and the table show."""

    bars: list[Bar]
    difference: tuple[float, float]  # PASHA's score less ASHA's, 95 % interval
    as_good: tuple[float, float]  # epochs of full training until it is as good as PASHA, 95 % interval
    everything: tuple[int, float]  # epochs and score of the full training of all configurations


def measure() -> Measured:
    curves = [task.table for task in load_suite(SUITE)]
    last = int(curves[0].resources[-1])
    bars, scores = [], {}
    for method in (rw.PASHA(max_resource=last), rw.ASHA(max_resource=last)):
        runs = np.array([_run(method, table, seed, last) for table in curves for seed in range(SEEDS)])
        bars.append(Bar(method.name.upper(), *runs.mean(axis=0)))
        scores[method.name] = runs[:, 2]
    full = np.array([_full_training(table, seed) for table in curves for seed in range(SEEDS)])
    count = _as_good(full.mean(axis=0), bars[0].score)
    bars.append(Bar("full training", count * last, 0, full.mean(axis=0)[count - 1]))
    draws = np.random.default_rng(0).integers(0, len(full), (RESAMPLES, len(full)))
    counts = [_as_good(full[draw].mean(axis=0), scores["pasha"][draw].mean()) for draw in draws]
    differences = (scores["pasha"] - scores["asha"])[draws].mean(axis=1)
    everything = TRIALS * last, float(full.mean(axis=0)[-1])
    return Measured(bars, _interval(differences), _interval(np.array(counts) * last), everything)


def _rows(table: rw.CurveTable, seed: int) -> list[int]:
    return [int(row) for row in np.random.default_rng(seed).permutation(len(table))[:TRIALS]]


def _run(method: Any, table: rw.CurveTable, seed: int, last: int) -> tuple[int, int, float]:
    """Epochs of the search, epochs that its choice lacks to `last`, the best score on the curve of the choice."""
    end = rw.simulate(method, table, workers=4, trials=TRIALS, rows=_rows(table, seed), seed=seed, drain=False)
    assert end.best_trial is not None
    chosen = end.study.trials[end.best_trial]
    return end.resource_used, last - chosen.resource, float(table.scores[chosen.config["row"]].max())


def _full_training(table: rw.CurveTable, seed: int) -> Scores:
    """The score of the best of the first k configurations by the last epoch, for k = 1 … TRIALS."""
    scores = table.scores[_rows(table, seed)]
    chosen = [int(scores[:k, -1].argmax()) for k in range(1, TRIALS + 1)]
    return np.asarray(scores.max(axis=1)[chosen])


def _as_good(means: Scores, score: float) -> int:
    """The fewest configurations whose best is as good as `score`; all of them where not even these are."""
    reached = np.flatnonzero(means >= score)
    return int(reached[0]) + 1 if len(reached) else len(means)


def _interval(samples: Any) -> tuple[float, float]:
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


def picture(bars: list[Bar], theme: str) -> str:
    """The bars as SVG on a transparent ground, in the fonts of the page that shows them."""
    text, faint, search, winner = COLORS[theme]
    scale = LONGEST / max(bar.search + bar.winner for bar in bars)
    title = f"Epochs trained for the same final score ({bars[0].score:.1f}%)"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="14" role="img">',
        f"<title>{title}: " + ", ".join(f"{bar.method} {bar.search + bar.winner:,.0f}" for bar in bars) + "</title>",
        f'<text y="18" fill="{text}" font-size="16" font-weight="600">{title}</text>',
    ]
    for place, bar in enumerate(bars):
        y, middle, end = 34 + 32 * place, LEFT + bar.search * scale, LEFT + (bar.search + bar.winner) * scale
        lines += [
            f'<text x="{LEFT - 10}" y="{y + 16}" fill="{text}" text-anchor="end">{bar.method}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{middle - LEFT:.1f}" height="22" fill="{search}"/>',
            f'<rect x="{middle:.1f}" y="{y}" width="{end - middle:.1f}" height="22" fill="{winner}"/>',
            f'<text x="{end + 8:.1f}" y="{y + 16}" fill="{text}" font-weight="600">'
            f"{bar.search + bar.winner:,.0f}</text>",
        ]
    lines += [
        f'<rect x="{LEFT}" y="139" width="11" height="11" fill="{search}"/>',
        f'<text x="{LEFT + 17}" y="149" fill="{faint}" font-size="13">search</text>',
        f'<rect x="{LEFT + 78}" y="139" width="11" height="11" fill="{winner}"/>',
        f'<text x="{LEFT + 95}" y="149" fill="{faint}" font-size="13">training the winner to the end</text>',
        f'<text x="{LEFT}" y="170" fill="{faint}" font-size="13">'
        f"Suite {SUITE}: validation accuracy, mean of 3 tasks × {SEEDS} seeds</text>",
    ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[1] / "docs" / "figures")
    bars, difference, as_good, (epochs, score) = measure()
    for theme in COLORS:
        (folder / f"saving-{theme}.svg").write_text(picture(bars, theme), encoding="utf-8")
    print("| method | final score | epochs, search | epochs, training the winner to the end | together |")
    print("|---|---|---|---|---|")
    for bar in bars:
        together = bar.search + bar.winner
        print(f"| {bar.method} | {bar.score:.2f} | {bar.search:,.0f} | {bar.winner:,.0f} | {together:,.0f} |")
    low, high = difference
    print(f"\nPASHA's score less ASHA's, 95 % interval: [{low:+.2f}, {high:+.2f}].")
    low, high = as_good
    print(f"Epochs until full training is as good as PASHA, 95 % interval: [{low:,.0f}, {high:,.0f}].")
    print(f"Full training of all {TRIALS} configurations: {score:.2f} after {epochs:,} epochs.")


if __name__ == "__main__":
    main()
