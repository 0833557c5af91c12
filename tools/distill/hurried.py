"""The daemon of a simulated week: a release's five minutes on trial are a second.

All else is the daemon as it is.
"""

import sys

from aiosd.daemon.__main__ import main
from aiosd.daemon.releases import journey

TRIAL_SECONDS = 1.0

if __name__ == "__main__":
    journey.TRIAL_SECONDS = TRIAL_SECONDS
    sys.exit(main())
