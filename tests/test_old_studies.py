"""Studies that earlier versions wrote, one file a version: they open for ever after, and go on.

When a version is released, `python tests/test_old_studies.py` adds the file of that version and what it says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import rungwise as rw

STUDIES = Path(__file__).parent / "golden" / "studies"
SPACE = {"x": rw.Float(1e-3, 1.0, log=True), "depth": rw.Integer(1, 4), "act": rw.Categorical(["relu", "tanh"])}


def train(study: rw.Study, trials: int) -> None:
    """Go on to `trials` configurations, a third of which fail or diverge now and then."""
    study.extend(trials=trials)
    while (job := study.ask()) is not None:
        if job.trial % 7 == 3:
            study.fail(job.trial, "out of memory")
            continue
        for epoch in range(job.start + 1, job.until + 1):
            noise = (job.trial * 37 + epoch * 101) % 19 / 200
            score = 0.9 - abs(job.config["x"] - 0.1) - 0.5 / epoch + noise
            study.report(job.trial, epoch, float("nan") if job.trial % 11 == 5 and epoch == 2 else score)


def what_it_says(study: rw.Study) -> str:
    return f"{study.explain()}\n{study.best}\n{study.rungs()}\n"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.db")), ids=lambda path: path.stem)
def test_a_study_of_an_earlier_version(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / path.name)
    study = rw.Study.open(tmp_path / path.name)
    assert what_it_says(study).replace(str(tmp_path), "FOLDER") == path.with_suffix(".txt").read_text()
    study.close()
    study = rw.Study(SPACE, rw.PASHA(max_resource=27), mode="max", seed=3, path=tmp_path / path.name)
    train(study, 40)
    assert len(study.trials) == 40
    assert study.finished
    study.close()


def test_there_is_one_of_this_version() -> None:
    assert (STUDIES / f"{rw.__version__}.db").exists()


def main() -> None:
    path = STUDIES / f"{rw.__version__}.db"
    path.unlink(missing_ok=True)
    study = rw.Study(SPACE, rw.PASHA(max_resource=27), mode="max", seed=3, path=path)
    train(study, 30)
    study.refit()
    path.with_suffix(".txt").write_text(what_it_says(study).replace(str(path.parent), "FOLDER"))
    study.close()
    path.with_suffix(".db.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
