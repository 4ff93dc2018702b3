"""What all tests share: every pass is verified, property tests tell the same story each time."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["GRAPHC_VERIFY"] = "1"

settings.register_profile("tests", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("tests")
