"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("usual")
os.environ.setdefault("COLUMNS", "200")  # messages on one line, whatever the terminal
