"""Who carries out: the Celery app, its pool and transport, and one module for each foreign thing."""
