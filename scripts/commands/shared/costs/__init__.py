"""What `docmill costs` shows: tables, bars, CSV, and the comparison with the provider's own export."""
