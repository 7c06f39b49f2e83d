"""``python -m popbeforesmtp`` is the command ``pop-before-smtp``."""

import sys

from popbeforesmtp.cli import main

sys.exit(main())
