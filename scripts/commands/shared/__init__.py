"""What several commands need: options, ids, tables and figures, progress, and the mistakes a person can make."""
