"""The cluster library: consensus, membership, layout and repair as sans-IO cores.

The node reaches it through one boundary only: a metadata change is a command of
`rs3gwd.base.commands`, and what `cluster` will do is to agree on the order of those commands
before the engine applies them. It never imports `rs3gwd`.
"""
