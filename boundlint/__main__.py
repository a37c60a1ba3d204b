"""`python -m boundlint`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if sys.path and not getattr(sys.flags, "safe_path", False):
        # `-m` puts the working directory here: the linted project, of which nothing may be imported.
        del sys.path[0]
    from boundlint.cli import main

    sys.exit(main())
