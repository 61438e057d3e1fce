"""``python -m hybrid_lib``."""

import sys

from hybrid_lib.cli import main

sys.exit(main())
