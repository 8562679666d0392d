"""What is done to a running docmill, a module for each kind of part. Chance comes from the scene, so it is seeded."""
