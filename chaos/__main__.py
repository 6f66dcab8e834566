"""`python3 -m chaos`."""

import sys

from chaos.main import main

sys.exit(main(sys.argv[1:]))
