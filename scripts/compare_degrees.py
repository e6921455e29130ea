r"""Every memory on every degree of NanoStream: docs/comparison.md.

python scripts/compare_degrees.py --dry_run
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reproduction.degrees.command import main

if __name__ == "__main__":
    sys.exit(main())
