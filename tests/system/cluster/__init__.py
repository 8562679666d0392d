"""pytest-celery's cluster tests on our app: on local processes, and on Docker where an engine answers."""
