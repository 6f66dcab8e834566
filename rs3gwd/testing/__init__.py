"""Fakes with programmable faults and the reference model; no test imports anything else for that."""
