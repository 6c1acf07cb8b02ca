"""Training functions for the tests of real runs; workers import them from here."""

from __future__ import annotations

import os
import signal
import time

import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}


def proxy(config: dict) -> float:
    """What a screened searcher asks; any function of the configuration."""
    return len(str(config)) % 5


def train(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)


def writes_down_each_epoch(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.report((trial.config["x"] * 0.37) % 1 + 1 / epoch)
        trial.save(epoch)
        with (trial.folder.parent / "trained").open("a") as file:
            file.write(".")


def slow(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        time.sleep(0.05)
        trial.report(1 / epoch)
        trial.save(epoch)


def saves_nothing(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)


def saves_much_at_the_last_rung(trial: rw.Trial) -> None:
    saves_nothing(trial)
    if trial.until == 9:
        trial.save(bytes(2_000_000))


def fails(trial: rw.Trial) -> None:
    print("about to fail")
    raise ValueError("no such layer")


def fails_when_odd(trial: rw.Trial) -> None:
    if trial.number % 2:
        raise ValueError(f"no layer {trial.number}")
    train(trial)


def attempt(trial: rw.Trial) -> int:
    """How often this trial was begun, this time included."""
    with (trial.folder / "attempts").open("a+") as file:
        file.write("x")
        file.flush()
        return file.tell()


def dies_once(trial: rw.Trial) -> None:
    trial.load()
    first = attempt(trial) == 1
    for epoch in trial:
        trial.report(1 / epoch)
        trial.save(epoch)
        if first and trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def dies_always(trial: rw.Trial) -> None:
    if trial.number == 1:
        os._exit(7)
    train(trial)


def hangs_once(trial: rw.Trial) -> None:
    if trial.number == 1 and attempt(trial) == 1:
        time.sleep(600)
    train(trial)


def diverges(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(float("nan") if trial.number == 0 else trial.config["x"])


def reports_text(trial: rw.Trial) -> None:
    trial.report("0.5" if trial.number == 0 else 0.5)


def reports_a_dict(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report({"accuracy": 0.5})


def returns_early(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.5)
        if trial.start:
            return


def two_arguments(lr: float, width: int) -> None:
    pass


async def coroutine(trial: rw.Trial) -> None:
    pass


def generator(trial: rw.Trial):
    yield 1


def uses_a_condition(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(trial.config.get("momentum", 0.5))


def worse_again(config: dict, epoch: int) -> float:
    """A curve that is best after 3 to 9 epochs, as those of boosting are that goes on too long."""
    return 0.3 + (config["x"] - 0.3) ** 2 / 10 + (epoch - 3 - round(6 * config["x"])) ** 2 / 5000


def boosts(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.report(worse_again(trial.config, epoch))
        trial.save((trial.number, epoch))


def boosts_and_saves_first(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.save((trial.number, epoch))
        trial.report(worse_again(trial.config, epoch))


def boosts_and_saves_at_the_end(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.report(worse_again(trial.config, epoch))
    trial.save((trial.number, trial.until))
