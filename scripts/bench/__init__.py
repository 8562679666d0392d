"""Measurements: bounded runs that print numbers, each beside what it is compared with."""
