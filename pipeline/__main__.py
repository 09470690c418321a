"""python -m pipeline is the same command as tickpipe."""

import sys

from pipeline.cli import main

sys.exit(main())
