"""The programs beside the daemon: rs3gwctl, the benchmark, and what builds and checks the tree."""
