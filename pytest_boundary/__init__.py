"""`pytest --enforce-boundary`: watches the real data clients while the tests run.

Nothing here imports more than the standard library until the flag is given; see `pytest_boundary.plugin`.
"""

from __future__ import annotations

__all__ = ["BoundaryFailure", "BoundaryWarning", "UnscopedAccess"]


class UnscopedAccess(Exception):
    """Customer data was touched outside of the active boundary; raised at the call in strict mode."""


class BoundaryFailure(Exception):
    """A test touched customer data outside of its boundary and the application went on."""


class BoundaryWarning(UserWarning):
    """The same in warn mode, at the user's line."""
