import sys
from pathlib import Path

HERE = Path(__file__).parent
# The fuzz, the core's other tests, whose vehicles, bounds and watched core it uses, and the C twin.
sys.path[:0] = [str(HERE), str(HERE.parent / "core"), str(HERE.parent / "bench")]
