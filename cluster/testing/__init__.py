"""Simulations and searches of the cluster's cores, and the bugs planted to test them. Not shipped
into any node's way: nothing imports it but tests and the commands of this package."""
