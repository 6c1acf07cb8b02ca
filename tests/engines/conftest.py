"""Each file here runs in an environment of its own, `make engine-NAME`, which says so in RUNGWISE_ENGINE."""

import os
from pathlib import Path

ENGINE = os.environ.get("RUNGWISE_ENGINE", "")
collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name != f"test_{ENGINE}.py"]
