"""Which nodes hold the copies of which object bytes: a versioned layout. Pure, no I/O."""
