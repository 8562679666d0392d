"""The steps of the schema, oldest first. `workers.ledger.migrating` takes them."""
