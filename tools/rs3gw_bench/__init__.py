"""The benchmark: what a node does per second, each figure as a share of a floor of the same run."""
