"""The scripts of the project's own tables, run small: resumable, and the same whatever the number of processes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rungwise.bench import suites

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "tables"


def make(name: str, folder: Path, *options: str) -> str:
    script = SCRIPTS / f"{name.replace('-', '_')}.py"
    command = [sys.executable, script, "--small", "--work", folder / "work", "--out", folder / "out", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tasks(name: str, folder: Path) -> list[suites.Task]:
    return list(suites._packed(name, folder / "out"))


@pytest.mark.needs("sklearn")
def test_digits_mlp(tmp_path: Path) -> None:
    said = make("digits-mlp", tmp_path / "one", "--workers", "1")
    assert "8 of 8 configurations" in said
    first = tasks("digits-mlp", tmp_path / "one")
    assert [task.table.scores.shape for task in first] == [(8, 9), (8, 9)]
    work = tmp_path / "one" / "work"
    for number in (0, 5):
        (work / f"{number:04}.npz").unlink()
    assert "2 of 2 configurations" in make("digits-mlp", tmp_path / "one", "--workers", "2")
    make("digits-mlp", tmp_path / "two", "--workers", "2")
    for once, again, other in zip(
        first, tasks("digits-mlp", tmp_path / "one"), tasks("digits-mlp", tmp_path / "two"), strict=True
    ):
        np.testing.assert_array_equal(once.table.scores, again.table.scores)
        np.testing.assert_array_equal(once.table.scores, other.table.scores)
        np.testing.assert_array_equal(once.test, other.test)


@pytest.mark.needs("sklearn")
def test_digits_mlp_small_is_the_beginning_of_the_table(tmp_path: Path) -> None:
    """The shipped table comes from this script: same configurations, and scores up to rounding of another BLAS."""
    make("digits-mlp", tmp_path)
    for small, shipped in zip(tasks("digits-mlp", tmp_path), suites.load_suite("digits-mlp"), strict=False):
        assert small.configs == shipped.configs[:8]
        assert np.abs(small.table.scores - shipped.table.scores[:8, :9]).max() < 2


@pytest.mark.needs("sklearn", "lightgbm")
def test_boosted_trees(tmp_path: Path) -> None:
    """Small is the beginning of the shipped tables: same configurations, and losses up to another machine's rounding."""
    assert "4 of 4 configurations" in make("boosted-trees", tmp_path / "one", "--workers", "1")
    first = tasks("boosted-trees", tmp_path / "one")
    (tmp_path / "one" / "work" / "0002.npz").unlink()
    assert "1 of 1 configurations" in make("boosted-trees", tmp_path / "one", "--workers", "2")
    for once, again, shipped in zip(
        first, tasks("boosted-trees", tmp_path / "one"), suites.load_suite("boosted-trees"), strict=True
    ):
        assert once.name == again.name == shipped.name
        assert once.configs == shipped.configs[:4]
        assert once.table.scores.shape == (4, 20)
        np.testing.assert_array_equal(once.table.scores, again.table.scores)
        np.testing.assert_array_equal(once.test, again.test)
        np.testing.assert_allclose(once.table.scores, shipped.table.scores[:4, :20], atol=0.02)
        assert (np.diff(once.table.seconds, prepend=0) > 0).all()


def images(folder: Path) -> None:
    """Four files in the format of Fashion-MNIST, with images that can be told apart by their brightness."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, count in (("train", 3000), ("t10k", 1000)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        pixels = (labels[:, None] * 25 + rng.integers(0, 5, (count, 784))).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", ["fashion-cells", "fashion-cnn"])
def test_fashion(name: str, tmp_path: Path) -> None:
    images(tmp_path / "images")
    for workers in ("1", "2"):
        make(name, tmp_path / workers, "--images", str(tmp_path / "images"), "--workers", workers)
    first, second = tasks(name, tmp_path / "1")
    assert first.table.scores.shape == (3, 3)
    assert first.configs == suites.load_suite(name)[0].configs[:3]
    assert first.table.scores.max() > 15
    assert (first.table.scores != second.table.scores).any()
    again = tasks(name, tmp_path / "2")[0]
    np.testing.assert_array_equal(first.table.scores, again.table.scores)


@pytest.mark.needs("torch")
def test_images_are_moved_every_way_alike() -> None:
    code = """if True:
        import torch
        from fashion_cnn import shifted
        images = torch.zeros(2000, 1, 14, 14)
        images[:, 0, 6, 12] = 1
        moved = shifted(images, 2).nonzero()[:, 2:]
        print(sorted(map(tuple, moved.unique(dim=0).tolist())), len(moved))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    places, inside = [(row, column) for row in range(4, 9) for column in range(10, 14)], int(done.stdout.split()[-1])
    assert done.stdout == f"{places} {inside}\n"
    assert 1500 < inside < 1700  # one column of five lies outside


@pytest.mark.needs("torch")
def test_proxies_on_the_table(tmp_path: Path) -> None:
    images(tmp_path / "images")
    script = SCRIPTS.parent / "proxies.py"
    command = [sys.executable, script, "--images", tmp_path / "images", "--cells", "20", "--inputs", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row[1]: row[2:] for row in (line.split("|") for line in done.stdout.splitlines()) if len(row) > 6}
    assert {" synflow ", " jacob_cov ", " parameters "} < set(rows)
    assert all(-1 <= float(rows[name][0]) <= 1 for name in (" synflow ", " jacob_cov "))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("script", ["fashion_cells.py", "fashion_cnn.py"])
def test_without_images_it_says_where_to_get_them(script: str, tmp_path: Path) -> None:
    command = [sys.executable, SCRIPTS / script, "--images", tmp_path, "--work", tmp_path / "work"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"there is no Fashion-MNIST in {tmp_path}: install Debian's dataset-fashion-mnist")
    assert len(done.stderr.splitlines()) == 1


def test_packing_rounds_losses_and_keeps_paces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import packing

    rng = np.random.default_rng(0)
    losses = rng.exponential(1, (4, 2, 6))
    losses[0, 0, 3], losses[1, 1, 3] = 40, 1e8  # more steps than fit into 16 and into 32 bits
    paces = rng.exponential(1e-4, (4, 2, 3))
    found = [{"validation": each, "test": each + 1, "seconds": pace} for each, pace in zip(losses, paces, strict=True)]
    units = {"validation": 1e-3, "test": 1e-2}
    packing.pack(
        tmp_path, "mine", found, [{"n": n} for n in range(4)], units=units, tick=1e-6, about={"what": "losses"}
    )
    for seed, task in enumerate(suites._packed("mine", tmp_path, "min")):
        assert task.table.mode == "min"
        np.testing.assert_allclose(task.table.scores, losses[:, seed], atol=0.51e-3)
        np.testing.assert_allclose(task.test, losses[:, seed] + 1, atol=0.51e-2)
        np.testing.assert_allclose(task.table.seconds, paces[:, seed].repeat(2, axis=1).cumsum(axis=1), atol=6e-6)


def test_packing_keeps_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import packing

    rng = np.random.default_rng(0)
    right = rng.integers(0, 200, (4, 2, 6))
    seconds = rng.exponential(0.01, (4, 2, 6))
    found = [{"validation": r, "test": r[:, ::-1], "seconds": s} for r, s in zip(right, seconds, strict=True)]
    counts = {"validation": 200, "test": 400}
    packing.pack(tmp_path, "mine", found, [{"n": n} for n in range(4)], counts=counts, about={"what": "numbers"})
    for seed, task in enumerate(suites._packed("mine", tmp_path)):
        np.testing.assert_allclose(task.table.scores, right[:, seed] / 2)
        np.testing.assert_allclose(task.test, right[:, seed, ::-1] / 4)
        np.testing.assert_allclose(task.table.seconds, seconds[:, seed].cumsum(axis=1), atol=0.6e-4)
        about = json.loads(str(suites.read_arrays(tmp_path / f"mine-{seed}.npz", about=0)["about"]))
        assert about["what"] == "numbers"
        assert about["seed"] == seed
