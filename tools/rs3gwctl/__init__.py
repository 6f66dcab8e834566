"""rs3gwctl: the command line of whoever runs rs3gwd nodes."""
