"""Which GPUs does each worker see? Those named in the environment that its process is started with.

CUDA_VISIBLE_DEVICES of a worker's process is set before Python starts in it, so that its `cuda:0` is its own. A number
counts, as in PyTorch, among those that this process sees: under CUDA_VISIBLE_DEVICES=2,3 the device 0 is the
machine's 2. For ROCm, which heeds CUDA_VISIBLE_DEVICES too, it is HIP_VISIBLE_DEVICES if that is what is set here.
"""

from __future__ import annotations

import functools
import itertools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rungwise.errors import InputError

Devices = str | Sequence[int | str | Sequence[int | str]] | None
"""What a user may give: "auto", None or "none", or a list with an entry a slot."""

CUDA, HIP = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
NVIDIA = Path("/proc/driver/nvidia/gpus")
PATIENCE = 5.0  # seconds for nvidia-smi
NAME = re.compile(r"[0-9]{1,9}|[A-Za-z][!-~]*")  # a number, or what NVIDIA calls one: GPU-8932f937, MIG-…/0/1
WANTED = 'devices must be "auto", "none", or a list with one entry per worker, like [0, 1] or ["0,1", "2,3"]'


def check_devices(devices: object) -> list[list[str]] | None:
    """The entries of a list, each the devices of one slot; None for "auto" and "none".

    >>> check_devices([0, "1,2", [3, "GPU-5e"]])
    [['0'], ['1', '2'], ['3', 'GPU-5e']]

    Raises `InputError` for anything else.
    """
    if devices is None or devices in ("auto", "none"):
        return None
    if isinstance(devices, str):
        numbers = re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", devices)
        meant = f"; did you mean [{devices.strip()}]?" if numbers else ""
        raise InputError(f"{WANTED}, not {devices!r}{meant}")
    if not isinstance(devices, (list, tuple)) or not devices:
        raise InputError(f"{WANTED}, not {devices!r}")
    return [_entry(entry, devices) for entry in devices]


def _entry(entry: object, devices: object) -> list[str]:
    parts = entry.split(",") if isinstance(entry, str) else entry if isinstance(entry, (list, tuple)) else [entry]
    named = []
    for part in parts:
        text = part.strip() if isinstance(part, str) else str(part) if type(part) is int and part < 10**9 else ""
        if not NAME.fullmatch(text):
            raise InputError(f"{WANTED}, not {devices!r}")
        named.append(str(int(text)) if text.isdecimal() else text)
    if not named:
        raise InputError(f"{WANTED}, not {devices!r}")
    if len(set(named)) < len(named):
        raise InputError(f"devices: {entry!r} names a device twice; for two workers on one device write two entries")
    return named


def from_text(text: str) -> Devices:
    """What `--devices` says: "auto", "none", or a device a worker, "0,1,2"; "0+1,2+3" for several a worker."""
    if text in ("auto", "none"):
        return text
    return [entry.split("+") if "+" in entry else entry for entry in text.split(",")]


def of_slots(devices: Devices, slots: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """What is set in the environment of each worker; `environment` is that of this process.

    "auto": if there are several workers and several GPUs, they are shared out evenly, several a worker or several
    workers on each. Raises `InputError` for a device that this process may not see.
    """
    entries = check_devices(devices)
    if entries is None and (devices != "auto" or slots == 1):
        return [{}] * slots
    variable = HIP if HIP in environment and CUDA not in environment else CUDA
    allowed = _listed(environment[variable]) if variable in environment else None
    if entries is not None:
        given = f" ({variable}={environment[variable]})" if variable in environment else ""
        count = len(allowed) if allowed is not None else _machine_has()
        entries = [[_named(device, allowed, count, given) for device in entry] for entry in entries]
    else:
        found = allowed if allowed is not None else [str(number) for number in range(_machine_has() or 0)]
        if len(found) < 2:
            return [{}] * slots
        entries = _shared_out(found, slots)
    return [{variable: ",".join(entries[slot % len(entries)])} for slot in range(slots)]


def _shared_out(found: list[str], slots: int) -> list[list[str]]:
    """Neighbors go together: they are often the ones with a fast line between them."""
    if slots >= len(found):
        return [[device] for device in found]
    bounds = [len(found) * slot // slots for slot in range(slots + 1)]
    return [found[start:end] for start, end in itertools.pairwise(bounds)]


def _listed(text: str) -> list[str]:
    """The devices that a variable makes visible: as CUDA has it, those before the first that cannot be."""
    found = []
    for part in map(str.strip, text.split(",")):
        if not part or part.startswith("-") or part == "NoDevFiles":
            break
        found.append(part)
    return found


def _named(device: str, allowed: list[str] | None, count: int | None, given: str) -> str:
    """What CUDA calls the `device` that a user names."""
    if not device.isdecimal():  # GPU-… and MIG-… mean the same wherever they are said
        comparable = allowed is not None and (not allowed or any(not one.isdecimal() for one in allowed))
        if comparable and not any(device.startswith(one) or one.startswith(device) for one in allowed or ()):
            raise InputError(f"devices: {device} is not among the devices that this process sees{given}")
        return device
    if count is not None and int(device) >= count:
        there = "no GPU" if count == 0 else "only device 0" if count == 1 else f"devices 0 to {count - 1}"
        raise InputError(f"devices: there is no device {device}; this process sees {there}{given}")
    return device if allowed is None else allowed[int(device)]


@functools.cache
def _machine_has() -> int | None:
    """How many GPUs of NVIDIA this machine has; None if nobody here can say."""
    if NVIDIA.is_dir():
        return sum(1 for _ in NVIDIA.iterdir())
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return sum(line.startswith("GPU ") for line in listed.splitlines())
