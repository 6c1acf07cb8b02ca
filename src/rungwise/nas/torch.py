"""How is a cell trained? A PyTorch network of cells, and its training for `rungwise.tune`, exact over every pause.

The network is that of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2 and figure 1). Needs torch, alone of this
package: `pip install 'rungwise[nas]'`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import numpy as np

from rungwise.errors import InputError, our_names, suggestion
from rungwise.nas.cells import NAS_BENCH_201, Cell
from rungwise.trial import Trial
from rungwise.validation import real, whole

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import cross_entropy
except ModuleNotFoundError:
    raise ImportError("rungwise.nas.torch needs torch: pip install 'rungwise[nas]'") from None

Metric = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> one number, the mean over the examples."""

LAYOUT = torch.channels_last  # convolutions of few channels are several times faster so on a CPU
EVALUATED = 1000  # examples at a time

# -- the network ----------------------------------------------------------------------------------------------


def convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, batch normalization."""
    convolve = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolve, nn.BatchNorm2d(after))


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: convolution(channels, channels, 1),
    "nor_conv_3x3": lambda channels: convolution(channels, channels, 3),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}
"""Name -> what makes the operation for so many channels; "none" is no edge."""


class CellModule(nn.Module):
    """A cell at one width: node j is the sum over i < j of operation (i, j) on node i.

    What lies on no path from the first to the last node is there, so that parameters count as they do in
    NAS-Bench-201, but is not computed: a node without input is zero, and so is all that comes of it alone.
    """

    def __init__(
        self, cell: str, channels: int, space: Cell, operations: Mapping[str, Callable[[int], nn.Module]]
    ) -> None:
        super().__init__()
        edges = [(edge, name) for edge, name in zip(space.edges, space.parse(cell), strict=True) if name != "none"]
        reached, leading = {0}, {space.nodes - 1}
        for (start, end), _ in edges:  # edges come in the order of their ends
            reached |= {end} if start in reached else set()
        for (start, end), _ in reversed(edges):
            leading |= {start} if end in leading else set()
        self.operations = nn.ModuleList(operations[name](channels) for _, name in edges)
        self.edges = [(*edge, edge[0] in reached and edge[1] in leading) for edge, _ in edges]
        self.last = space.nodes - 1

    def forward(self, images: Tensor) -> Tensor:
        """(images, channels, height, width) -> the same shape."""
        nodes: dict[int, Tensor] = {0: images}
        for (start, end, live), operation in zip(self.edges, self.operations, strict=True):
            if live:
                output = operation(nodes[start])
                nodes[end] = nodes[end] + output if end in nodes else output
        return nodes[self.last] if self.last in nodes else torch.zeros_like(images)


class Reduction(nn.Module):
    """A residual block that halves the image and changes the channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.main = nn.Sequential(convolution(before, after, 3, 2), convolution(after, after, 3))
        self.short = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """(images, before, height, width) -> (images, after, height / 2, width / 2), rounded up."""
        out: Tensor = self.main(images) + self.short(images)
        return out


@our_names(image="shape", width="channels", depth="cells")
def network(
    cell: str,
    *,
    shape: tuple[int, int, int],
    classes: int,
    channels: int = 16,
    cells: int = 5,
    stages: int = 3,
    stride: int = 1,
    space: Cell = NAS_BENCH_201,
    operations: Mapping[str, Callable[[int], nn.Module]] | None = None,
) -> nn.Sequential:
    """The network of `cell`, a value of `space`, for images of `shape` (channels, height, width).

    It has a stem (3 × 3 convolution of `stride`), then `stages` stages of `cells` cells each, the first with `channels`
    channels; between stages a residual block halves the image and doubles the channels. Then come the mean over the
    image and a linear layer to `classes` logits. The defaults give the network of NAS-Bench-201. `operations` maps the
    name of any other operation to a function from the number of channels to a module, which must keep the shape.

    >>> model = network("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    ...                 shape=(3, 32, 32), classes=10)
    >>> sum(parameter.numel() for parameter in model.parameters())
    559386

    Raises `InputError` for a string that is not a cell of `space`, for an unknown operation, for sizes below 1, and for
    an image that is too small to be halved so often.
    """
    for name, number in (("classes", classes), ("channels", channels), ("cells", cells), ("stages", stages)):
        if whole(number, name) < 1:
            raise InputError(f"{name} must be 1 or more, not {number!r}")
    if not isinstance(shape, Sequence) or len(shape) != 3 or any(whole(size, "shape") < 1 for size in shape):
        raise InputError(f"shape must be (channels, height, width), each 1 or more, not {shape!r}")
    if whole(stride, "stride") not in (1, 2):
        raise InputError(f"stride must be 1 or 2, not {stride!r}")
    halvings = stages - 1 + stride - 1
    if min(shape[1:]) < 2**halvings:
        raise InputError(f"an image of {shape[1]} × {shape[2]} cannot be halved {halvings} times; use fewer stages")
    makers = OPERATIONS | dict(operations or {})
    for name in sorted({*space.parse(cell)} - {*makers, "none"}):
        raise InputError(f"operations has no {name!r}{suggestion(name, makers)}")
    widths = [channels * 2**stage for stage in range(stages)]
    parts: list[nn.Module] = [
        nn.Conv2d(shape[0], channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        *(CellModule(cell, channels, space, makers) for _ in range(cells)),
    ]
    for before, after in pairwise(widths):
        parts.append(Reduction(before, after))
        parts += [CellModule(cell, after, space, makers) for _ in range(cells)]
    head = [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*parts, *head, nn.Linear(widths[-1], classes))
    return model.to(memory_format=LAYOUT)  # type: ignore[call-overload, no-any-return]


# -- the training ---------------------------------------------------------------------------------------------


def flips(images: Tensor) -> Tensor:
    """Each image, or its mirror image (the last dimension turned round), with equal odds."""
    flipped = torch.rand(len(images)) < 0.5
    images[flipped] = images[flipped].flip(-1)
    return images


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of the examples whose largest logit is that of the target; nan if some logit is no finite number."""
    right = (outputs.argmax(1) == targets).float().mean()
    return right if outputs.isfinite().all() else torch.full_like(right, math.nan)


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    batch: int,
    augment: Callable[[Tensor], Tensor] | None = None,
    loss: Metric = cross_entropy,
    rate: Callable[[float], float] | None = None,
) -> None:
    """One epoch over the examples in an order that torch draws. `rate` is the learning rate by share of the epoch."""
    model.train()
    batches = torch.split(torch.randperm(len(inputs)), batch)
    for place, rows in enumerate(batches):
        given = inputs[rows]
        if augment is not None:
            given = augment(given)
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(place / len(batches))
        optimizer.zero_grad()
        loss(model(given), targets[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def evaluate(model: nn.Module, inputs: Tensor, targets: Tensor, metric: Metric = accuracy) -> float:
    """The mean of `metric` over the examples."""
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for given, wanted in zip(torch.split(inputs, EVALUATED), torch.split(targets, EVALUATED), strict=True):
            total += float(metric(model(given), wanted)) * len(given)
    return total / len(inputs)


def cosine(epoch: float, epochs: int, warmup: float = 0.0) -> float:
    """The share of the learning rate after `epoch` epochs: up in a line over `warmup` of them, then a cosine to 0.

    >>> [round(cosine(epoch, 4), 3) for epoch in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if epoch < warmup:
        return epoch / warmup
    return (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2


@our_names(optimiser="optimizer")
def fit(
    trial: Trial,
    build: Callable[[], nn.Module],
    *,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    epochs: int,
    batch: int = 64,
    lr: float = 0.1,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup: float = 0.0,
    augment: Callable[[Tensor], Tensor] | None = None,
    loss: Metric = cross_entropy,
    score: Metric = accuracy,
    seed: int = 0,
    threads: int | None = 1,
) -> nn.Module:
    """Train the model made by `build` for the epochs of `trial`'s job, and return it.

    `training` and `validation` are (inputs, targets), tensors with one example per row. After each epoch the mean of
    `score` over the validation examples is reported and the state is saved: pass `study.best.load()["model"]` to the
    winner's `load_state_dict`. `optimizer` is "sgd" (Nesterov, with `momentum`, as in NAS-Bench-201) or "adamw".
    `augment` changes a batch of inputs, as `flips` does.

    The learning rate rises over `warmup` epochs and then falls to 0 as a cosine over *all* of `epochs`, batch by batch,
    as in NAS-Bench-201. It depends only on the epoch, not on the rungs. So set `epochs` to the study's `max_resource`;
    scores at a rung are then those of training that continues.

    On a CPU the reports are the same, bit for bit, whether the trial was paused, killed, or resumed in another process.
    All randomness of epoch k, including dropout and `augment`, comes from torch's generator, seeded with (seed, trial,
    k), and with (seed, trial, 0) when the model is built. This needs the same number of threads each time, so `threads`
    is 1 whatever the environment says, which also suits several workers (None leaves it unchanged).

    Raises `InputError` if the trial goes beyond `epochs`, and for invalid arguments.
    """
    if trial.until > whole(epochs, "epochs"):
        raise InputError(
            f"this job goes to {trial.until}, beyond the end of the learning-rate schedule at epochs={epochs!r}; "
            "set epochs to the study's max_resource"
        )
    if whole(batch, "batch") < 1 or real(lr, "lr") <= 0 or not 0 <= real(warmup, "warmup") < epochs:
        raise InputError(
            f"batch must be 1 or more, lr above 0 and warmup from 0 to below epochs, not {batch}, {lr}, {warmup}"
        )
    if not 0 <= real(momentum, "momentum") < 1 or real(weight_decay, "weight_decay") < 0 or whole(seed, "seed") < 0:
        raise InputError(
            "momentum must be from 0 to below 1, weight_decay and seed 0 or more, "
            f"not {momentum}, {weight_decay}, {seed}"
        )
    if threads is not None and whole(threads, "threads") < 1:
        raise InputError(f"threads must be 1 or more, or None for as many as there are, not {threads!r}")
    (inputs, targets), judged = _laid_out(training), _laid_out(validation)
    with _threads(threads):
        with _seeded(seed, trial.number, 0):
            model = build()
        stepper = _optimizer(optimizer, model, lr, momentum, weight_decay)
        if (state := trial.load()) is not None:
            model.load_state_dict(state["model"])
            stepper.load_state_dict(state["optimizer" if "optimizer" in state else "optimiser"])
        for epoch in trial:
            with _seeded(seed, trial.number, epoch):
                train_epoch(
                    model, stepper, inputs, targets, batch=batch, augment=augment, loss=loss,
                    rate=partial(_rate, lr, epoch - 1, epochs, warmup),
                )  # fmt: skip
            trial.report(evaluate(model, *judged, score))
            trial.save({"model": model.state_dict(), "optimizer": stepper.state_dict()})
    return model


def _rate(lr: float, done: int, epochs: int, warmup: float, share: float) -> float:
    return lr * cosine(done + share, epochs, warmup)


def _laid_out(examples: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    inputs, targets = examples
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        raise InputError(
            f"inputs and targets must be tensors, not {type(inputs).__name__} and {type(targets).__name__}; "
            "torch.as_tensor makes one of an array"
        )
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise InputError(f"there must be a target for each of 1 or more inputs, not {len(targets)} for {len(inputs)}")
    return inputs.contiguous(memory_format=LAYOUT) if inputs.dim() == 4 else inputs, targets


def _optimizer(name: str, model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": partial(torch.optim.SGD, momentum=momentum, nesterov=momentum > 0),
        "adamw": torch.optim.AdamW,
    }
    if name not in makers:
        raise InputError(f"there is no optimizer {name!r}{suggestion(str(name), makers)}")
    return makers[name](model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)


@contextmanager
def _seeded(*seeds: int) -> Iterator[None]:
    """All chance of torch within comes from `seeds`; what comes after is as if nothing had been drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1))
        yield


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
