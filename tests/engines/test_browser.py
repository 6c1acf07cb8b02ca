"""A report in a real browser, headless Chromium: it draws, sorts, and filters; nothing else runs, loads, or is sent."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from system_packages import missing

import rungwise as rw

ALERT = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if (why := missing(["chromium"], ["chromium", "fonts-dejavu-core"])) is not None:
        pytest.skip(why)
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none as root
        one = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        yield one
        one.close()


class Opened:
    """A report in the browser, and what it did that it should not have done."""

    def __init__(
        self, browser: Browser, path: Path, *, wide: int = 1200, dark: bool = False, touch: bool = False
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": wide, "height": 900}, color_scheme="dark" if dark else "light", has_touch=touch
        )
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: request.url == path.as_uri() or self.wrong.append(request.url))
        began = time.monotonic()
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.seconds = time.monotonic() - began

    def column(self, name: str) -> list[str]:
        place = self.page.locator("#heads button").all_text_contents().index(name)
        return self.page.eval_on_selector_all("#trials tr", f"rows => rows.map(row => row.cells[{place}].textContent)")

    def painted(self, canvas: str) -> int:
        """How many pixels of a canvas are not empty."""
        return self.page.evaluate(
            """name => { const it = document.getElementById(name);
            const dots = it.getContext("2d").getImageData(0, 0, it.width, it.height).data;
            let found = 0; for (let at = 3; at < dots.length; at += 4) found += dots[at] > 0; return found; }""",
            canvas,
        )

    def picture(self, canvas: str) -> str:
        return self.page.evaluate("name => document.getElementById(name).toDataURL()", canvas)


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    all_of_them: list[Opened] = []

    def open_it(study: rw.Study | Path, **how: object) -> Opened:
        path = study if isinstance(study, Path) else study.write_report(tmp_path / f"{len(all_of_them)}.html")
        one = Opened(browser, path, **how)
        all_of_them.append(one)
        return one

    yield open_it
    for one in all_of_them:
        one.context.close()


def simulated(trials: int, scheduler: str = "pasha", most: int = 27) -> rw.Study:
    rng = np.random.default_rng(trials)
    final, speed = 0.6 + 0.3 * rng.random((trials, 1)), np.exp(rng.normal(0, 0.7, (trials, 1)))
    scores = final * (1 - np.exp(-speed * np.arange(1, most + 1) / 6)) + rng.normal(0, 0.006, (trials, most))
    return rw.simulate(scheduler, rw.CurveTable(scores, mode="max"), trials=trials).study


def mixed() -> rw.Study:
    """Every text is an attack; trials that failed, that are running, and scores that are not finite."""
    space = {
        ALERT: rw.Categorical([ALERT, "<img src=x onerror=alert(2)>", "</script>"]),
        "lr": rw.Float(1e-5, 1, log=True),
    }
    study = rw.Study(space, rw.PASHA(max_resource=9), mode="min")
    for number in range(40):
        job = study.ask()
        if job is None:
            break
        if number % 7 == 3:
            study.fail(job.trial, f"no memory {ALERT}")
            continue
        for epoch in range(job.start + 1, job.until + 1):
            study.report(job.trial, epoch, math.nan if number % 11 == 5 else job.config["lr"] + 1 / epoch)
    study.ask()
    return study


def several() -> rw.Study:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode={"accuracy": "max", "<b>seconds": "min"})
    for _ in range(30):
        job = study.ask()
        for epoch in range(job.start + 1, job.until + 1):
            study.report(
                job.trial, epoch, {"accuracy": job.config["x"] * epoch, "<b>seconds": 9 * job.config["x"] ** 2}
            )
    return study


STUDIES: dict[str, Callable[[], rw.Study]] = {
    "empty": lambda: rw.Study({"x": rw.Float(0, 1)}, "asha"),
    "one": lambda: simulated(1, "asha"),
    "ten": lambda: simulated(10),
    "hyperband": lambda: simulated(60, "async-hyperband"),
    "mixed": mixed,
    "several": several,
}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", STUDIES)
def test_it_draws_and_does_nothing_else(opened: Open, name: str, dark: bool) -> None:
    study = STUDIES[name]()
    one = opened(study, dark=dark)
    assert one.wrong == []
    for canvas in ("curves", "ladder"):
        assert bool(one.painted(canvas)) == bool(study.trials), canvas
    assert one.page.locator("figcaption").count() == one.page.locator("canvas").count()
    assert one.page.locator("#trials tr").count() == min(25, len(study.trials))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", STUDIES)
def test_people_who_see_little_can_use_it(opened: Open, name: str, dark: bool) -> None:
    one = opened(STUDIES[name](), dark=dark)
    one.page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    found = Axe().run(one.page)
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) > 15  # it has looked


def test_it_fits_a_phone(opened: Open) -> None:
    for name in ("mixed", "several", "hyperband"):
        one = opened(STUDIES[name](), wide=360, touch=True)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_hostile_names_are_only_text(opened: Open) -> None:
    one = opened(mixed())
    assert ALERT in one.page.locator("#heads").inner_text()
    assert ALERT in one.page.locator(".answer").inner_text()
    one.page.locator("#most").select_option("100")
    assert ALERT in one.page.locator("#trials").inner_text()
    assert one.page.locator("img").count() == 0
    assert one.wrong == []


def test_no_other_script_can_run(opened: Open) -> None:
    one = opened(simulated(4))
    one.page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.hacked = 1";
        document.body.append(script); document.body.insertAdjacentHTML("beforeend",
        '<img src="data:image/gif;base64,AAAA" onerror="window.hacked = 2"><b onclick="window.hacked = 3">b</b>');
        document.querySelector("main ~ b").click(); }"""
    )
    assert one.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in each for each in one.wrong)


def test_sorting(opened: Open) -> None:
    study = mixed()
    one = opened(study)
    one.page.locator("#most").select_option("100")
    score = one.page.get_by_role("button", name="score", exact=True)
    for way, sign in (("ascending", 1), ("descending", -1)):
        score.click()
        assert one.page.locator("th[aria-sort]").get_attribute("aria-sort") == way
        shown = one.column("score")
        assert len(shown) == len(study.trials)
        numbers = list(itertools.takewhile(lambda text: text not in ("–", "not finite"), shown))
        values = [sign * float(text) for text in numbers]
        assert values == sorted(values)
        assert "–" in shown
        assert not [text for text in shown[len(numbers) :] if text not in ("–", "not finite")]
    trial = one.page.get_by_role("button", name="trial", exact=True)
    trial.focus()
    one.page.keyboard.press("Enter")
    assert one.column("trial") == [str(number) for number in range(len(study.trials))]
    assert one.wrong == []


def test_filters_and_how_many_are_shown(opened: Open) -> None:
    study = mixed()
    one = opened(study)
    failed = sum(record.failure is not None for record in study.trials)
    assert failed >= 2
    one.page.locator("#state").select_option("failed")
    assert one.column("state") == ["failed"] * failed
    trials = len(study.trials)
    assert one.page.locator("#count").inner_text() == f"{failed} of {failed} trials (filtered from {trials})"
    one.page.locator("#state").select_option("")
    one.page.locator("#find").fill("NO MEMORY script")
    assert one.column("state") == ["failed"] * failed
    one.page.locator("#find").fill("nothing like it")
    assert one.page.locator("#trials tr").count() == 0
    one.page.locator("#find").fill("")
    assert one.page.locator("#trials tr").count() == min(25, trials)
    assert one.wrong == []


def test_a_row_shows_its_curve(opened: Open) -> None:
    one = opened(simulated(30))
    before = one.picture("curves")
    buttons = one.page.locator("#trials button")
    buttons.nth(7).click()
    assert buttons.nth(7).get_attribute("aria-pressed") == "true"
    marked = one.picture("curves")
    assert marked != before
    buttons.nth(9).click()
    assert one.page.locator('[aria-pressed="true"]').count() == 1
    assert one.picture("curves") not in (before, marked)
    buttons.nth(9).click()
    assert one.picture("curves") == before


def test_the_curve_under_the_pointer_is_named(opened: Open) -> None:
    study = simulated(1, "asha")
    one = opened(study)
    one.page.locator("#curves").scroll_into_view_if_needed()
    box = one.page.locator("#curves").bounding_box()
    assert box is not None
    said = set()
    for step in range(0, 300, 6):
        one.page.mouse.move(box["x"] + box["width"] / 2 + 20, box["y"] + step)
        said.add(one.page.locator("#pointed").inner_text())
    assert any(text.startswith("trial 0: ") and text.endswith(" at 1") for text in said)


def test_another_metric_draws_other_curves(opened: Open) -> None:
    one = opened(several())
    before = one.picture("curves")
    one.page.get_by_label("metric").select_option(label="<b>seconds")
    assert one.picture("curves") != before


@pytest.mark.parametrize("trials", [5_000, 100_000])
def test_large_studies_are_drawn(opened: Open, trials: int) -> None:
    one = opened(simulated(trials, "asha"))
    began = time.monotonic()
    one.page.get_by_role("button", name="seconds", exact=True).click()
    one.page.locator("#find").fill("27")
    assert one.page.locator("#trials tr").count() == 25
    print(f"{trials:,} trials: drawn in {one.seconds:.2f} s, sorted and searched in {time.monotonic() - began:.2f} s")
    assert one.wrong == []
