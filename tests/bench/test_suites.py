"""Suites: the values are those of the files, and whatever is wrong with a file is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rungwise.bench.suites import SUITES, TABLES, load_suite, read_arrays, there_is
from rungwise.errors import InputError

CONFIGS = {"configs": np.array([[0.1, 2], [0.2, 3]]), "names": np.array(["rate", "layers"])}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, suite in SUITES.items():
        if suite.source:
            (tmp_path / name).mkdir()
    monkeypatch.setenv("RUNGWISE_DATA", str(tmp_path))
    return tmp_path


def test_lcbench(data: Path) -> None:
    np.savez(data / "lcbench" / "configs.npz", X=CONFIGS["configs"], names=CONFIGS["names"])
    np.savez(data / "lcbench" / "31.npz", val_accuracy=[[50, 60], [70, 65]], elapsed_seconds=[[1, 2.5], [3, 3]])
    (task,) = load_suite("lcbench")
    assert (task.suite, task.name, task.table.mode) == ("lcbench", "31", "max")
    assert task.table.scores.tolist() == [[50, 60], [70, 65]]
    assert task.table.seconds.tolist() == [[1, 2.5], [3, 3]]
    assert task.configs == ({"rate": 0.1, "layers": 2.0}, {"rate": 0.2, "layers": 3.0})


def test_taskset_begins_after_the_first_training(data: Path) -> None:
    np.savez(
        data / "taskset" / "rnn.npz", **CONFIGS, valid_loss=[[9, 0.5, 0.4], [9, 0.6, np.nan]], test_loss=[[9, 5, 4], [9, 6, 7]]
    )  # fmt: skip
    (task,) = load_suite("taskset")
    assert task.table.mode == "min"
    np.testing.assert_array_equal(task.table.scores, [[0.5, 0.4], [0.6, np.nan]])
    assert task.test is not None
    assert task.test.tolist() == [[5, 4], [6, 7]]
    assert task.table.seconds.tolist() == [[1, 2], [1, 2]]


def test_nmtlc_curves_end_at_their_length(data: Path) -> None:
    np.savez(
        data / "nmtlc" / "fr-en.npz", **CONFIGS, perplexity=[[4.0, 3.0, np.nan], [5.0, 4.5, 4.25]], length=[2, 3]
    )  # fmt: skip
    (task,) = load_suite("nmtlc")
    assert task.table.scores.tolist() == [[4, 3, 3], [5, 4.5, 4.25]]
    assert task.table.seconds.tolist() == [[1, 2, 2], [1, 2, 3]]


@pytest.mark.needs("pandas")
def test_lcdb(data: Path) -> None:
    import pandas

    others = [(3, f"other {n}", 16, 0.1, 0.1, 1.0) for n in range(8)]
    rows = [
        (3, "svc", 16, 0.5, 0.4, 1.0), (3, "svc", 32, 0.75, 0.7, 2.0), (3, "tree", 16, 0.25, 0.2, 0.5), *others,
        (7, "tree", 16, 1.0, 0.9, 0.25),
    ]  # fmt: skip
    names = ["openmlid", "learner", "size_train", "score_valid", "score_test", "traintime"]
    pandas.DataFrame(rows, columns=names).to_parquet(data / "lcdb" / "lcdb10_accuracy_mean.parquet")
    (task,) = load_suite("lcdb")  # the other has too few learners to choose from
    assert task.name == "3"
    assert task.table.resources.tolist() == [16, 32]
    assert [config["learner"] for config in task.configs][-2:] == ["svc", "tree"]
    np.testing.assert_array_equal(task.table.scores[-2:], [[50, 75], [25, np.nan]])
    assert task.table.seconds[-2:].tolist() == [[1, 3], [0.5, 0.5]]


@pytest.mark.parametrize("name", ["lcbench", "taskset", "nmtlc", "lcdb"])
def test_a_missing_suite_says_where_to_get_it_and_where_to_put_it(name: str, data: Path) -> None:
    with pytest.raises(InputError, match=rf"no suite {name} in {data}/{name}: put .*github\.com.*RUNGWISE_DATA"):
        load_suite(name)


def test_without_a_data_folder_it_is_said_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNGWISE_DATA", raising=False)
    (tmp_path / "shared" / "data" / "taskset").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "taskset" / "one.npz").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert not there_is("taskset"), "it is looked for nowhere else"
    with pytest.raises(InputError, match=r"folder that RUNGWISE_DATA names, which is not set: put .*github\.com"):
        load_suite("taskset")
    assert there_is("digits-mlp"), "that is part of the package"


def test_an_unknown_suite_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError, match=r"no suite 'lcbnech'; did you mean 'lcbench'\?"):
        load_suite("lcbnech")


@pytest.mark.parametrize("kept", [0, 3, 60, 300, -30])
def test_a_truncated_file_is_one_clear_line(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez_compressed(path, valid_loss=np.arange(1000.0))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"table\.npz cannot be read .*broken or truncated, fetch it again$") as error:
        read_arrays(path, valid_loss=1)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez_compressed(path, valid_loss=np.random.default_rng(0).random(1000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(path, valid_loss=1)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez(path, valid_loss=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(path, valid_loss=1)


def test_a_file_of_another_kind_is_one_clear_line(data: Path) -> None:
    np.savez(data / "taskset" / "rnn.npz", loss=[[1, 2]])
    with pytest.raises(InputError, match=r"rnn\.npz should have the arrays configs, names, valid_loss, test_loss"):
        load_suite("taskset")
    np.savez(data / "nmtlc" / "fr-en.npz", **CONFIGS, perplexity=[[4.0, 3.0], [5.0, 4.5]], length=[2, 2, 2])
    with pytest.raises(InputError, match=r"fr-en\.npz"):
        load_suite("nmtlc")
    np.savez(data / "taskset" / "rnn.npz", **CONFIGS, valid_loss=[1.0, 2.0], test_loss=[[1.0, 2.0]])
    with pytest.raises(InputError, match=r"rnn\.npz: valid_loss should have 2 dimensions, not the shape \(2,\)"):
        load_suite("taskset")
    np.savez(data / "taskset" / "rnn.npz", **CONFIGS, valid_loss=[[9.0, 1.0]], test_loss=[[9.0, 2.0]])
    with pytest.raises(InputError, match=r"rnn has 2 configurations, test scores of the shape \(1, 1\)"):
        load_suite("taskset")
    np.savez(data / "lcbench" / "configs.npz", X=CONFIGS["configs"], names=CONFIGS["names"])
    np.savez(data / "lcbench" / "31.npz", val_accuracy=[[50, 60]], elapsed_seconds=[[2, 1]])
    with pytest.raises(InputError, match=r"31\.npz is no table of curves: seconds must be cumulative"):
        load_suite("lcbench")


@pytest.mark.needs("pandas")
def test_a_broken_parquet_file_is_one_clear_line(data: Path) -> None:
    (data / "lcdb" / "lcdb10_accuracy_mean.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="parquet cannot be read") as error:
        load_suite("lcdb")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "rows", "epochs", "seeds"),
    [("digits-mlp", 1000, 243, 3), ("fashion-cells", 500, 50, 2), ("fashion-cnn", 512, 81, 2)],
)
def test_the_tables_of_the_package(name: str, rows: int, epochs: int, seeds: int) -> None:
    tasks = load_suite(name)
    assert len(tasks) == seeds
    for seed, task in enumerate(tasks):
        assert task.table.scores.shape[0] >= rows
        assert task.table.scores.shape[1] >= epochs
        assert len(task.configs) == len(task.table)
        assert len({json.dumps(config) for config in task.configs}) == len(task.table)  # all different
        assert task.test is not None
        assert task.table.scores.min() >= 0
        assert task.table.scores.max() <= 100
        assert (np.diff(task.table.seconds, prepend=0) > 0).mean() > 0.99
        learned = task.table.scores[task.table.scores.max(axis=1) > 30]
        assert np.abs(np.diff(learned, axis=1)).mean() > 0.1  # points from one epoch to the next: they are noisy
        about = json.loads(str(read_arrays(TABLES / f"{name}-{seed}.npz", about=0)["about"]))
        assert about["seed"] == seed
        assert {"what", "script", "licence", "machine", "versions", "made", "seconds"} <= set(about)
        assert "--small" not in about["script"]
    first, second = tasks[:2]
    assert first.configs == second.configs
    assert (first.table.scores != second.table.scores).mean() > 0.3


def test_boosted_trees_of_the_package() -> None:
    tasks = load_suite("boosted-trees")
    datasets = ["breast-cancer", "diabetes", "digits", "friedman", "hastie", "planted"]
    assert [task.name for task in tasks] == [f"boosted-trees-{name}-{seed}" for name in datasets for seed in (0, 1)]
    assert len({json.dumps(config) for config in tasks[0].configs}) == 512  # all different
    for task in tasks:
        scores = task.table.scores
        assert task.table.mode == "min"
        assert scores.shape == (512, 200)
        assert task.configs == tasks[0].configs
        assert task.test is not None
        assert np.isfinite(scores).all()
        assert scores.min() > 0
        assert task.test.min() > 0
        assert abs(np.median(scores) - np.median(task.test)) < 0.1
        assert (np.diff(task.table.seconds, prepend=0) > 0).all()
        best = scores.min(axis=1)
        assert 0.15 < (scores[:, -1] > 1.01 * best).mean() < 0.9  # some get worse again
        assert best.min() < 0.95 * np.median(best)  # and it matters which one is chosen
        about = json.loads(str(read_arrays(TABLES / f"{task.name}.npz", about=0)["about"]))
        assert {"what", "script", "licence", "machine", "versions", "made", "seconds", "units", "tick"} <= set(about)
        assert task.name.endswith(f"-{about['seed']}")
        assert "lightgbm" in about["versions"]
        assert "--small" not in about["script"]
    for first, second in zip(tasks[::2], tasks[1::2], strict=True):
        assert (first.table.scores != second.table.scores).mean() > 0.3
