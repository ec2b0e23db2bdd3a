"""What the benchmarks share; importing it makes the packages of the project importable."""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT)]
