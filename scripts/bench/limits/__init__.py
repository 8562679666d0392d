"""Rate limits kept and used, against the simulator's hidden buckets."""
