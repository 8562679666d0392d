"""What `docmill doctor` looks at, and what it has to say of each. No secret is said."""
