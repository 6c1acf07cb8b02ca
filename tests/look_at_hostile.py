"""Look at every hostile study with every command that looks, in a process that says what it should not have done.

Run by `test_hostile.py` as `python look_at_hostile.py FOLDER`; prints a JSON list of what came of each. In a process of
its own: an audit hook cannot be taken away again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import rungwise as rw
from rungwise import cli

SECONDS = 60  # after which looking counts as hanging; it takes well below one
KNOWN = {"rungwise", "numpy", "msgspec", "click", "rich", "filelock", "pandas", "pyarrow", "pygments", "markdown_it",
         "mdurl", "dateutil", "six", "tzdata", "pytz",
         "numexpr", "bottleneck"}  # pandas asks for the last two itself  # fmt: skip
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
        "socket.connect", "socket.bind", "ctypes.dlopen", "pickle.find_class", "webbrowser.open")  # fmt: skip
OF_OURS = ("needs", "sampler object", "sampler 6")  # going on with these, our own searchers import what they need

done: list[str] = []  # what should not have been, since the last look
watching = False


def imported(name: str) -> None:
    if watching and (top := name.split(".")[0]) not in KNOWN | sys.stdlib_module_names:
        done.append(f"import {top}")


class Finder:
    """Finds no module, and notes which ones are looked for: of `import_module` the audit hook hears nothing."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        imported(name)


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not watching:
        return
    if event in RUNS:
        done.append(f"{event}{arguments!r:.200}")
    elif event == "import":
        imported(str(arguments[0]))
    elif event == "exec" and not (file := arguments[0].co_filename).startswith("<"):
        if Path(file).resolve().is_relative_to(Path.cwd()):  # the folder of the studies
            done.append(f"exec {file}")
    elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        name, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if isinstance(flags, int) else "r" not in str(mode)
        if writes and not Path(os.fsdecode(name)).resolve().is_relative_to(Path.cwd()) and str(name) != os.devnull:
            done.append(f"open {name!r} to write")


def watch() -> None:
    """Hear of all that should not be."""
    sys.meta_path.insert(0, Finder)
    sys.addaudithook(hook)


def command(*arguments: str) -> Callable[[], object]:
    def call() -> object:
        sys.argv = ["rungwise", *arguments]
        return cli.main()

    return call


def from_python(path: Path) -> object:
    study = rw.Study.open(path)
    study.rows(reports=True)
    study.rung_results()
    return [study.finished, study.running, study.searcher.settings(), study.rungs(), str(list(study.facts()))]


def warm_start(path: Path) -> object:
    return rw.Study({"x": rw.Float(0, 1)}, warm_start=path).ask()


def looks(path: Path) -> dict[str, Callable[[], object]]:
    study, out = str(path), f"out/{path.stem}"
    made = {
        "status": command("status", study),
        "best": command("best", study),
        "best --json": command("best", study, "--json"),
        "explain": command("explain", study),
        "export csv": command("export", study, f"{out}.csv"),
        "export json": command("export", study, f"{out}.json", "--reports"),
        "export parquet": command("export", study, f"{out}.parquet"),
        "report": command("report", study, "-o", f"{out}.html"),
        "forecast": command("forecast", study, "--trials", "4"),
        "replay": command("replay", study),
        "report md": command("report", study, "-o", f"{out}.md"),
        "salvage": command("salvage", study, f"{out}.db"),
        "resume": command("resume", study, "--trials", "2", "--quiet"),
        "refit": command("refit", study, "--to", "9", "--quiet"),
        "open": lambda: from_python(path),
        "warm_start": lambda: warm_start(path),
    }
    if " of another " in path.stem:  # many, and alike
        return {name: made[name] for name in ("status", "export csv", "report", "salvage", "resume", "open")}
    if path.stem[4:].startswith(OF_OURS):
        del made["resume"], made["refit"]
    return made


def hangs(number: int, frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def look(call: Callable[[], object]) -> dict[str, Any]:
    """Its exit code (None for a traceback), what it printed, how long it took, and what it should not have done."""
    global watching
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    code: Any = 0
    began = time.monotonic()
    done.clear()
    signal.alarm(SECONDS)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        watching = True
        try:
            call()
        except SystemExit as error:
            code = error.code
        except (rw.InputError, rw.StudyError) as error:
            code = 1
            print(f"rungwise: {error}", file=sys.stderr)
        except BaseException:
            code = None
            traceback.print_exc()
        finally:
            watching = False
            signal.alarm(0)
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))
    return {"code": code, "out": said[0], "err": said[1], "seconds": time.monotonic() - began, "done": list(done)}


def main() -> None:
    """Look at all of them."""
    os.chdir(sys.argv[1])
    sys.path.insert(0, "")
    Path("out").mkdir()
    paths = hostile.make(Path.cwd())
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    signal.signal(signal.SIGALRM, hangs)
    watch()
    found = []
    for path in paths:
        for name, call in looks(path).items():
            found.append({"study": path.stem, "look": name, **look(call)})
    json.dump(found, sys.__stdout__)


if __name__ == "__main__":
    main()
