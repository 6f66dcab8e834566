"""The drivers of the cluster's cores: thin trio tasks over the ports in `cluster.base.ports`."""
