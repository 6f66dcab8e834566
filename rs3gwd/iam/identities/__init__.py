"""Users, groups, roles and managed policies: their names, and what they may do. Pure."""
