"""Policies: who may do what, decided from documents. Pure; see the modules for the theory."""
