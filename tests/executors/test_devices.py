"""Which GPUs each worker sees. There need be none: what is tested is what CUDA would be told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import messages
import rungwise as rw
from rungwise.executors import devices
from rungwise.executors.devices import check_devices, from_text, of_slots

PROBE = """
import os
SEEN = os.environ.get("CUDA_VISIBLE_DEVICES")  # when the module is imported, as CUDA libraries do
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with so many GPUs, or where nobody can say."""

    def has(count: int | None) -> None:
        monkeypatch.setattr(devices, "_machine_has", lambda: count)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    has(None)
    return has


def seen(given: devices.Devices, slots: int, environment: dict[str, str] | None = None) -> list[str | None]:
    return [each.get("CUDA_VISIBLE_DEVICES") for each in of_slots(given, slots, environment or {})]


@pytest.mark.parametrize(
    ("given", "slots", "wanted"),
    [
        ([0, 1], 2, ["0", "1"]),
        ([0, 1], 4, ["0", "1", "0", "1"]),
        ([0, 0, 1, 1], 4, ["0", "0", "1", "1"]),
        ([0, 1, 2], 2, ["0", "1"]),
        (["0,1", [2, 3]], 2, ["0,1", "2,3"]),
        (["GPU-8932f937", "MIG-c6d4f1ef"], 2, ["GPU-8932f937", "MIG-c6d4f1ef"]),
        (["MIG-GPU-8932f937/0/1", " 00 "], 2, ["MIG-GPU-8932f937/0/1", "0"]),
        ([3], 1, ["3"]),
        (None, 3, [None] * 3),
        ("none", 3, [None] * 3),
        ("auto", 3, [None] * 3),
    ],
)
def test_a_list_is_an_entry_for_each_slot_in_turn(machine, given, slots: int, wanted) -> None:
    assert seen(given, slots) == wanted


@pytest.mark.parametrize(
    ("gpus", "slots", "wanted"),
    [
        (4, 4, ["0", "1", "2", "3"]),
        (2, 4, ["0", "1", "0", "1"]),
        (4, 2, ["0,1", "2,3"]),
        (8, 3, ["0,1", "2,3,4", "5,6,7"]),
        (4, 1, [None]),  # one worker may use all of them, as it could without us
        (1, 4, [None] * 4),
        (0, 2, [None] * 2),
        (None, 2, [None] * 2),
    ],
)
def test_auto_shares_out_what_there_is(machine, gpus: int | None, slots: int, wanted) -> None:
    machine(gpus)
    assert seen("auto", slots) == wanted


@pytest.mark.parametrize(
    ("given", "visible", "wanted"),
    [
        ("auto", "2,3", ["2", "3"]),
        ("auto", "GPU-a,GPU-b,GPU-c,GPU-d", ["GPU-a,GPU-b", "GPU-c,GPU-d"]),
        ("auto", "", [None] * 2),
        ("auto", "-1", [None] * 2),
        ("auto", "5,-1,6", [None] * 2),  # CUDA sees those before what cannot be
        ([0, 1], "2, 3", ["2", "3"]),  # as cuda:0 and cuda:1 of PyTorch in this process
        (["GPU-ab", 1], "GPU-abcd,GPU-ef", ["GPU-ab", "GPU-ef"]),
        (["GPU-ab"], "1,2", ["GPU-ab"] * 2),  # who can say
    ],
)
def test_what_this_process_may_see_is_shared_out_and_nothing_else(machine, given, visible: str, wanted) -> None:
    machine(8)
    assert seen(given, 2, {"CUDA_VISIBLE_DEVICES": visible}) == wanted


def test_rocm_by_its_own_variable_if_that_is_the_one_that_is_set(machine) -> None:
    assert of_slots("auto", 2, {"HIP_VISIBLE_DEVICES": "1,3"}) == [
        {"HIP_VISIBLE_DEVICES": "1"},
        {"HIP_VISIBLE_DEVICES": "3"},
    ]


WRONG = {
    "a number": (lambda: check_devices(1), "not 1"),
    "text": (lambda: check_devices("0,1"), "did you mean [0,1]?"),
    "a typo": (lambda: check_devices("atuo"), 'must be "auto", "none", or a list'),
    "empty": (lambda: check_devices([]), "not []"),
    "an empty entry": (lambda: check_devices([0, ""]), "not [0, '']"),
    "a negative one": (lambda: check_devices([-1]), "not [-1]"),
    "a negative one in text": (lambda: check_devices(["-1"]), "not ['-1']"),
    "two without a comma": (lambda: check_devices(["0 1"]), "not ['0 1']"),
    "a NUL": (lambda: check_devices(["a\0"]), r"not ['a\x00']"),
    "digits that are not ours": (lambda: check_devices(["\u0663"]), "not ['\u0663']"),
    "half a one": (lambda: check_devices([0.5]), "not [0.5]"),
    "twice": (lambda: check_devices([[0, 0]]), "names a device twice"),
    "beyond what is visible": (lambda: of_slots([2], 2, {"CUDA_VISIBLE_DEVICES": "2,3"}), "no device 2; this process sees devices 0 to 1 (CUDA_VISIBLE_DEVICES=2,3)"),
    "none is visible": (lambda: of_slots([0], 2, {"CUDA_VISIBLE_DEVICES": ""}), "sees no GPU"),
    "another's": (lambda: of_slots(["GPU-x"], 2, {"CUDA_VISIBLE_DEVICES": "GPU-a"}), "GPU-x is not among the devices that this process sees"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_devices_are_told_in_one_line(case: str, machine) -> None:
    make, message = WRONG[case]
    with pytest.raises(rw.InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    messages.check("devices", case, str(error.value))


def test_a_device_that_the_machine_has_not(machine) -> None:
    machine(2)
    with pytest.raises(rw.InputError, match="there is no device 2; this process sees devices 0 to 1"):
        rw.tune(lambda trial: None, {"x": rw.Float(0, 1)}, mode="min", trials=1, devices=[0, 2])


def test_on_the_command_line() -> None:
    assert [from_text(text) for text in ("auto", "none", "0,1", "0+1,2+3", "GPU-a,GPU-b")] == [
        "auto", "none", ["0", "1"], [["0", "1"], ["2", "3"]], ["GPU-a", "GPU-b"]
    ]  # fmt: skip


def test_nvidia_smi_is_asked_where_the_driver_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU 0: NVIDIA A100 (UUID: GPU-1)"\necho "GPU 1: NVIDIA A100 (UUID: GPU-2)"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "NVIDIA", tmp_path / "not there")
    assert devices._machine_has.__wrapped__() == 2
    program.write_text("#!/bin/sh\nexit 9\n")
    assert devices._machine_has.__wrapped__() is None
    gpus = tmp_path / "gpus"
    for number in range(3):
        (gpus / f"0000:0{number}:00.0").mkdir(parents=True)
    monkeypatch.setattr(devices, "NVIDIA", gpus)
    assert devices._machine_has.__wrapped__() == 3


def test_each_worker_sees_its_own_before_anything_is_imported(tmp_path: Path, monkeypatch, machine) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    notes.mkdir()

    def train(trial: rw.Trial) -> None:
        import time

        import probe

        note = {
            "slot": trial.worker,
            "process": os.getpid(),
            "saw": probe.SEEN,
            "has": os.environ["CUDA_VISIBLE_DEVICES"],
        }
        (notes / f"{trial.number}-{time.time_ns()}").write_text(json.dumps(note))
        if trial.number == 5 and len(list(notes.glob("5-*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        for epoch in trial:
            time.sleep(0.2)  # so that all workers get some
            trial.report(epoch)

    study = rw.tune(
        train, {"x": rw.Float(0, 1)}, mode="min", trials=24, workers=4, devices=[0, 1, 2, 3], quiet=True,
        scheduler=rw.ASHA(max_resource=1),
    )  # fmt: skip
    assert len(study.trials) == 24
    told = [json.loads(note.read_text()) for note in notes.iterdir()]
    assert {(each["slot"], each["saw"]) for each in told} == {(0, "0"), (1, "1"), (2, "2"), (3, "3")}
    assert all(each["has"] == each["saw"] for each in told)
    of_process = {(each["process"], each["slot"]) for each in told}
    assert len(of_process) == len({process for process, _ in of_process}) == 5, "the fifth took the place of the killed"


def test_a_program_sees_the_devices_of_its_worker(tmp_path: Path, machine) -> None:
    code = "import os, json; open('seen', 'a').write(os.environ['CUDA_VISIBLE_DEVICES'] + '\\n'); print(json.dumps({'score': 1}))"
    (tmp_path / "program.py").write_text(code)
    toml = f'command = [{json.dumps(sys.executable)}, "program.py"]\nmode = "min"\ntrials = 4\n'
    toml += 'space.x = { type = "float", low = 0, high = 1 }\n'
    (tmp_path / "rungwise.toml").write_text(toml + "devices = [[4, 5]]\nepoch_seconds = 100\n")
    command = [str(Path(sys.executable).with_name("rungwise")), "tune", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert set((tmp_path / "seen").read_text().split()) == {"4,5"}
    resume = [command[0], "resume", "rungwise.db", "--quiet"]
    subprocess.run([*resume, "--trials", "6"], cwd=tmp_path, check=True, capture_output=True)
    assert set((tmp_path / "seen").read_text().split()) == {"4,5"}, "as it was run before"
    subprocess.run([*resume, "--trials", "8", "--devices", "7+8"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "seen").read_text().split()[-1] == "7,8"
