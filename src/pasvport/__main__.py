"""`python -m pasvport` is the command `pasvport`."""

import sys

from pasvport.cli import main

sys.exit(main())
