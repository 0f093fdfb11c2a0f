"""``python -m mmuniqrnet.env``: versions, problems and their fixes; see :mod:`mmuniqrnet.utils.env`."""

import sys

from mmuniqrnet.utils.env import main

if __name__ == '__main__':
    sys.exit(main())
