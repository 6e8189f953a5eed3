"""How much a body of POST /v1/evaluations may hold; a test holds these against its schema."""

from __future__ import annotations

import re

MOST_MEDICATIONS = 200
MOST_CONDITIONS = 200
LONGEST_NAME = 300
LONGEST_CODE = 100
LONGEST_SYSTEM = 300
OLDEST_YEARS = 120

URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+")
