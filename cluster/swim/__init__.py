"""SWIM with Lifeguard: which nodes seem to be there, as a core without any I/O.

`core.Swim` decides, `sealing.Sealer` guards datagrams, `endpoint.GossipEndpoint` joins both for a
driver. Liveness is a hint: nothing here decides placement, members of groups or quorums.
"""
