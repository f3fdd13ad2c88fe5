"""``python -m netsim``."""

import os
import sys
from pathlib import Path

# Python looks in the current folder first, where a file named random.py would take the place of Python's own. What a
# scenario names is found there all the same (netsim.core.modules), after libraries.
if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):
    del sys.path[0]

from netsim.app.cli import main

main()
