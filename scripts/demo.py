"""The demo, run from the repository: `hermes demo` where the package is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hermes_cli.demo import main

if __name__ == "__main__":
    sys.exit(main())
