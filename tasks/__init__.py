"""What happens to a job. Rules are pure; everything foreign comes in through `tasks.ports.World`."""
