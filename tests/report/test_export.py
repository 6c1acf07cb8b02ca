"""A study as CSV, JSON and Parquet: what other programs read is what there was, and nothing runs as a formula."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.report.export import _harmless, export

SPACE = {
    "features": rw.Categorical(["sqrt", 0.5, None]),
    "depth": rw.Categorical([1, 2, None]),
    "layers": rw.Categorical([[8, -2], [4]]),
    "rate": rw.Float(0, 1, when={"depth": 1}),
    "kind": rw.Categorical(["a", "b"], when={"depth": [2, None]}),
    "on": rw.Categorical([True, False]),
}


@pytest.fixture
def study() -> rw.Study:
    study = rw.Study(SPACE, "asha", mode="max")
    study.extend(trials=24)
    while (job := study.ask()) is not None:
        study.report(job.trial, job.until, float("nan") if job.trial == 0 else 0.5)
    return study


def exported(study: rw.Study, path: Path, *, reports: bool = False) -> Path:
    export(study, path, reports=reports)
    return path


def configs(study: rw.Study) -> list[dict]:
    return [record.config for record in study.trials]


def test_in_json_an_absent_parameter_has_no_key_and_none_is_null(study: rw.Study, tmp_path: Path) -> None:
    rows = json.loads(exported(study, tmp_path / "t.json").read_text())
    read = [{key.removeprefix("config."): row[key] for key in row if key.startswith("config.")} for row in rows]
    assert read == configs(study)
    assert any(config["depth"] is None for config in read)
    assert any("rate" not in config for config in read)
    assert rows[0]["score"] is None, "not finite"


def test_in_csv_an_absent_parameter_is_empty_and_none_is_null(study: rw.Study, tmp_path: Path) -> None:
    with exported(study, tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for config, row in zip(configs(study), rows, strict=True):
        for name in ("features", "depth", "layers"):
            assert json.loads(row[f"config.{name}"]) == config[name], "mixed values are JSON text"
        for name in ("rate", "kind"):
            assert row[f"config.{name}"] == str(config.get(name, "")), "of one kind: as they are"
    assert {row["config.features"] for row in rows} == {'"sqrt"', "0.5", "null"}
    assert list(rows[0])[-len(SPACE) :] == [f"config.{name}" for name in SPACE]


@pytest.mark.parametrize("mode", ["max", {"error": "min", "cost": "min"}])
@pytest.mark.parametrize("reports", [False, True])
def test_a_study_without_trials_has_all_its_columns(tmp_path: Path, reports: bool, mode: str | dict) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode=mode)
    before = exported(study, tmp_path / "before.csv", reports=reports).read_text()
    job = study.ask()
    study.report(job.trial, job.until, 0.5 if mode == "max" else {"error": 1, "cost": 2})
    head = exported(study, tmp_path / "after.csv", reports=reports).read_text().splitlines()[0]
    assert before.splitlines() == [head]
    assert head.split(",") == list(study.rows(reports=reports)[0]), "those of the rows, in their order"


@pytest.mark.needs("pandas", "pyarrow")
@pytest.mark.parametrize("reports", [False, True])
def test_in_parquet_mixed_values_are_json_text_and_an_absent_parameter_is_null(
    study: rw.Study, tmp_path: Path, reports: bool
) -> None:
    import pyarrow.parquet

    path = exported(study, tmp_path / "t.parquet", reports=reports)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        config = study.trials[row["trial"]].config
        for name in ("features", "depth", "layers"):
            assert json.loads(row[f"config.{name}"]) == config[name]
        for name in ("rate", "kind", "on"):
            assert row[f"config.{name}"] == config.get(name)


@pytest.mark.needs("pandas")
def test_in_a_dataframe_none_is_none_and_an_absent_parameter_is_nan(study: rw.Study) -> None:
    frame = study.dataframe()
    assert frame["config.depth"].tolist() == [config["depth"] for config in configs(study)]
    assert frame["config.features"].tolist() == [config["features"] for config in configs(study)]
    assert frame["config.rate"].isna().tolist() == ["rate" not in config for config in configs(study)]


@pytest.mark.needs("pandas", "pyarrow")
def test_what_parquet_cannot_take_is_one_line(tmp_path: Path) -> None:
    study = rw.Study({"n": rw.Categorical([2**70, 1])}, "asha")
    study.extend(trials=4)
    while (job := study.ask()) is not None:
        study.report(job.trial, job.until, 0.5)
    with pytest.raises(rw.InputError, match=r"Parquet cannot store this study's values .*export it as \.json") as error:
        export(study, tmp_path / "t.parquet", reports=False)
    assert str(error.value).startswith(f"{tmp_path / 't.parquet'}: "), "the name that the user gave"
    assert 2**70 in {row["config.n"] for row in json.loads(exported(study, tmp_path / "t.json").read_text())}


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-5", "@cmd", "\t=1", "\r=1", "\tx", "\n=1+1", "  =1", "\u00a0=1", "＝1+1", "＋1", "－1", "＠x", "\u3000=1",
     "\ufeff=1", "\u200b=1", '"=1', "a;=1+1", "a,=1+1", "a\t=1", "a\n=1", "a; =1", "a;-1+cmd|x", "a;＝1", 'a;"=1', "-2+3"],
)  # fmt: skip
def test_in_csv_no_text_is_a_formula_whatever_separates_the_cells(text: str) -> None:
    told = _harmless(text)
    assert told.startswith("'")
    for cell in csv_cells(told):
        assert cell.strip(' \t\r\n\u00a0\u3000\ufeff\u200b"')[:1] not in {*"=+-@＝＋－＠"}


def csv_cells(text: str) -> list[str]:
    """What any spreadsheet may take for a cell."""
    for separator in ",;\t\r\n":
        text = text.replace(separator, "\0")
    return [cell for cell in text.split("\0") if cell]


@pytest.mark.parametrize(
    "text", ["sgd", "a=b", "x-1", "1e-5", "a; b", "|none~0|+|none~0|", "[8, -2]", "[-1.5e-3]", "", "me@home", "é"]
)
def test_in_csv_other_text_stays_as_it_is(text: str) -> None:
    assert _harmless(text) == text


@pytest.mark.parametrize("value", [-5, -0.5, True, None])
def test_in_csv_numbers_stay_numbers(value: object) -> None:
    assert _harmless(value) is value


def test_half_a_character_is_refused_where_it_would_come_in(tmp_path: Path) -> None:
    half = chr(0xD800)
    with pytest.raises(rw.InputError, match="lone surrogate"):
        rw.Categorical([half, "b"])
    with pytest.raises(rw.InputError, match="must be printable text"):
        rw.Space({f"x{half}": rw.Float(0, 1)})
    with pytest.raises(rw.InputError, match="two or more metrics"):
        rw.Study({"x": rw.Float(0, 1)}, mode={half: "min", "b": "max"})
    with pytest.raises(rw.InputError, match="lone surrogate"):
        rw.Study({"x": rw.Float(0, 1)}, run={"function": f"{half}.py:train"})
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db")
    study.fail(study.ask().trial, f"no file {half}")
    study.close()
    assert rw.Study.open(tmp_path / "s.db").trials[0].failure == r"no file \ud800"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["\n" * 1_000_000, ", " * 500_000 + "x", ",+1" + " " * 1_000_000 + "x", ",'" * 500_000]
)
def test_in_csv_long_text_takes_no_time_out_of_proportion(text: str) -> None:
    """A reason of a failure may be as long as somebody likes; a million blanks took hours."""
    began = time.process_time()
    _harmless(text)
    assert time.process_time() - began < 5
