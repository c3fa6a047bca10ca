"""``python -m kraft`` is ``kraft``."""

import sys

from kraft.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
