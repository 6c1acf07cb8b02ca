"""Search the shape of a small transformer and its optimizer together, for the text of Python's own library.

Run it with `make text`. The text is the source of Python's standard library, which every machine with Python has; the
model reads 64 characters and predicts each from those before it. Layers, heads, width and the width of each layer's
feed-forward part are searched with learning rate, weight decay, dropout and warm-up; the feed-forward part of layer 3
exists only where there are three layers. Kill it at any moment and run it again: it goes on where it was.
"""

import argparse
import math
import sysconfig
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import rungwise as rw
from rungwise.nas.torch import evaluate, fit

LENGTH, SYMBOLS = 64, 128  # characters of a sequence; those of ASCII, others are written as ?
MODULES = ("argparse", "ast", "configparser", "dataclasses", "difflib", "doctest", "inspect", "pathlib", "typing")
TRAINING, HELD_OUT = 2000, 500  # sequences; the held-out ones are for validation and for the test

SPACE = {
    "layers": rw.Integer(1, 3),
    "heads": rw.Ordinal([1, 2, 4, 8]),
    "width": rw.Ordinal([32, 48, 64]),
    "feed_forward_1": rw.Ordinal([1, 2, 4]),  # times the width
    "feed_forward_2": rw.Ordinal([1, 2, 4], when={"layers": [2, 3]}),
    "feed_forward_3": rw.Ordinal([1, 2, 4], when={"layers": 3}),
    "dropout": rw.Float(0, 0.3, step=0.1),
    "lr": rw.Float(1e-4, 3e-2, log=True),
    "weight_decay": rw.Float(1e-4, 1, log=True),
    "warmup": rw.Float(0, 2),  # epochs
}


class Layer(nn.Module):
    """Attention to what came before, then a feed-forward part, each added to its input (normalized first)."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.three, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        inner = feed_forward * width
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(sequences, length, width) -> the same shape."""
        parts = self.three(self.norms[0](x)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(seen))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class Transformer(nn.Module):
    """(sequences, LENGTH) characters -> logits of (sequences, LENGTH, SYMBOLS) for the characters after them."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, layers = config["width"], range(1, config["layers"] + 1)
        self.characters, self.places = nn.Embedding(SYMBOLS, width), nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.layers = nn.Sequential(
            *(Layer(width, config["heads"], config[f"feed_forward_{n}"], config["dropout"]) for n in layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SYMBOLS))

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        return self.head(self.layers(self.characters(x) + self.places))


def bits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Bits per character."""
    return cross_entropy(outputs.flatten(0, 1), targets.flatten()) / math.log(2)


@cache
def data(count: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """(characters, those after them) for training, validation and test: sequences of the same files, shuffled once."""
    folder = Path(sysconfig.get_path("stdlib"))
    text = "".join((folder / f"{name}.py").read_text("utf-8") for name in MODULES if (folder / f"{name}.py").exists())
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64)
    rows = codes[: len(codes) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1)
    rows = torch.tensor(np.random.default_rng(0).permutation(rows)[: count + 2 * HELD_OUT])
    return tuple((part[:, :-1], part[:, 1:]) for part in rows.split([len(rows) - 2 * HELD_OUT, HELD_OUT, HELD_OUT]))


def train(trial: rw.Trial, *, count: int, epochs: int) -> None:
    """Train the transformer of `trial.config` for the epochs that are asked for."""
    training, validation, _ = data(count)
    recipe = {name: trial.config[name] for name in ("lr", "weight_decay", "warmup")}
    fit(
        trial, partial(Transformer, trial.config), training=training, validation=validation, epochs=epochs, batch=32,
        optimizer="adamw", loss=bits, score=bits, **recipe,
    )  # fmt: skip


def main() -> None:
    """Tune, refit, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="configurations to try (default 32)")
    parser.add_argument("--epochs", type=int, default=27, help="the most epochs for any (default 27)")
    parser.add_argument("--sequences", type=int, default=TRAINING, help=f"to train on (default {TRAINING})")
    parser.add_argument("--study", type=Path, default=Path("runs/text.db"), help="its file (default runs/text.db)")
    given = parser.parse_args()
    began = time.monotonic()
    job = partial(train, count=given.sequences, epochs=given.epochs)
    scheduler = rw.PASHA(max_resource=given.epochs)
    study = rw.tune(
        job, SPACE, mode="min", scheduler=scheduler, trials=given.trials, workers=2, study=given.study, refit=True
    )
    if study.interrupted:
        raise SystemExit(130)
    best = study.best
    model = Transformer(best.config)
    model.load_state_dict(best.load()["model"])
    _, _, test = data(given.sequences)
    print(f"\nbest configuration: trial {best.number}, {best.config}")
    print(f"parameters: {sum(value.numel() for value in model.parameters()):,}")
    print(f"after {best.refit_resource or best.resource} epochs: {evaluate(model, *test, bits):.3f} bits per character")
    counts = torch.bincount(test[1].flatten(), minlength=SYMBOLS) / test[1].numel()
    print(f"(each character by its frequency alone: {-(counts * counts.clamp(min=1e-9).log2()).sum():.3f})")
    print(f"\nwhy it stopped where it did:\n{study.explain()}")
    spent = study.resource_used, (best.refit_resource or best.resource) - best.resource, time.monotonic() - began
    print(f"\nspent: {spent[0]} epochs to choose, {spent[1]} to refit; {spent[2]:.0f} s in all")


if __name__ == "__main__":
    main()
