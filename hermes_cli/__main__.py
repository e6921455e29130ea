"""`python -m hermes_cli`, where the command `hermes` is not on the path."""

import sys

from hermes_cli.main import main

sys.exit(main())
