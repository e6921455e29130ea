r"""The paper's tables, ours beside theirs.

python scripts/reproduce.py --list
python scripts/reproduce.py --table streaming --model llava_ov_7b --dry_run
python scripts/reproduce.py --table nano
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reproduction.command import main

if __name__ == "__main__":
    sys.exit(main())
