"""Who ends the workers and all that they started, if the driver is killed? A small process of its own.

A worker is killed by the kernel when its driver dies, but what it has started (a program, that program's children,
a DataLoader's) is not. The guard is told the workers' numbers on its standard input; when that ends, the driver is
gone, and the guard kills whatever runs in the workers' sessions. It is run as a script and imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

LOOK = 1.0  # seconds between looks whether the driver is still there: a fork of it may hold the pipe open


def kill_sessions(leaders: set[int]) -> None:
    """Kill all processes in the sessions of `leaders`, whatever their process groups.

    The numbers must not have been given to others: the leaders live, or nobody has waited for them, or others of
    their sessions live. Where there is no /proc, it is their process groups alone.
    """
    for leader in leaders:
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
    known: set[int] = set()
    while new := _members(leaders) - known:  # until no fork is left that was not seen
        known |= new
        for process in new:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


def _members(leaders: set[int]) -> set[int]:
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return set()  # the /proc of another namespace: its numbers are those of others
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return set()
    found = set()
    for number in numbers:
        try:
            with open(f"/proc/{number}/stat", "rb") as file:
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):  # gone meanwhile
            continue
        if int(session) in leaders and state not in b"ZX":
            found.add(number)
    return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def main() -> None:
    """Keep the list until the driver is gone."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # sent to all processes at once: the driver ends us
        signal.signal(number, signal.SIG_IGN)
    driver = os.getppid()
    if guard := os.fork():  # a process of Ray's that ends kills its children first, but not theirs
        os.close(0)
        os.waitpid(guard, 0)
        return
    leaders: set[int] = set()
    told = b""
    while _lives(driver):
        if not select.select([0], [], [], LOOK)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, told = (told + data).split(b"\n")
        for line in lines:  # "+17": there is a worker 17; "-17": it has ended
            (leaders.add if line[:1] == b"+" else leaders.discard)(int(line[1:]))
    kill_sessions(leaders)


if __name__ == "__main__":
    main()
    os._exit(0)
