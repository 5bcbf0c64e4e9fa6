"""What `make proof` does: a full connect is in the server's log, a half-open check is not.

Exits with 0 only if that is so. The servers run in namespaces of their own, so it needs root.
"""

from __future__ import annotations

import sys

from hosts.proof import main

if __name__ == "__main__":
    sys.exit(main())
