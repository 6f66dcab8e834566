"""The admin API: what operators ask of a cluster over the network, as JSON."""
