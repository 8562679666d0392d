"""Jobs that wait for a person: what `docmill dead` and `docmill uncertain` have in common."""
