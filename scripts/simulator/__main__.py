"""`python -m scripts.simulator`."""

import sys

from scripts.simulator.command import main

sys.exit(main())
