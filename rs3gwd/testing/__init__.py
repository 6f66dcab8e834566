"""Fakes with programmable faults and the reference model: what tests build on."""
