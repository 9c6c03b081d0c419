"""What every service runs on: settings, logs, metrics, health, the life cycle of a worker."""
