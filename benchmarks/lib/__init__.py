"""Hold what benchmarks share; importing it makes the project's packages importable."""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT)]
