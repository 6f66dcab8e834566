"""Programs that break nodes on purpose and prove that nothing acknowledged is lost."""
