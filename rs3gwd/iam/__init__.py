"""Who is asking and what they may do: pure code, no I/O."""
