"""Errors of the layout.

ClusterError
  LayoutError
    NotEnoughNodes       fewer nodes with capacity than copies
    NotEnoughZones       the zones cannot take all copies at the bound of copies in a zone
    TransitionUnderWay   the former version is not yet dropped; one change at a time
    NoTransition         there is no change to go back from, or to wait for a node in
    TransitionUnfinished a step was reported before the step it rests on
    LayoutDamaged        bytes that are not a layout of a version known here
"""

from cluster.base.errors import ClusterError


class LayoutError(ClusterError):
    """A layout cannot be as asked for."""

    code = "layout"
    fault = "caller"


class NotEnoughNodes(LayoutError):
    """Each copy needs a node of its own with capacity: add nodes or ask for fewer copies."""

    code = "layout_not_enough_nodes"


class NotEnoughZones(LayoutError):
    """Add a zone, or allow more copies in one zone."""

    code = "layout_not_enough_zones"


class TransitionUnderWay(LayoutError):
    """Nodes still move to the newest version: wait until the former one is dropped."""

    code = "layout_transition_under_way"
    retryable = True


class TransitionUnfinished(LayoutError):
    """A node spoke of a version that does not exist, or of bytes before all writers obey it."""

    code = "layout_transition_unfinished"
    retryable = True


class NoTransition(LayoutError):
    """No change is under way, or it does not wait for this node."""

    code = "layout_no_transition"


class LayoutDamaged(LayoutError):
    """Not the bytes of a layout that this release can read."""

    code = "layout_damaged"
    fault = "disk"
