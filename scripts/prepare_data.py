"""`hermes prepare`, run from the repository: official files of a data set in, annotation out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from video_qa.preparation.command import main

if __name__ == "__main__":
    sys.exit(main())
