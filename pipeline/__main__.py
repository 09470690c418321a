"""The command tickpipe; python -m pipeline is the same."""

import sys

from pipeline.runtime.stopping import ends_on_ctrl_c


def main() -> int:
    """Run the verb that the command line names and return its exit code."""
    with ends_on_ctrl_c():
        from pipeline.cli import main as run_verb
    return run_verb()


if __name__ == "__main__":
    sys.exit(main())
