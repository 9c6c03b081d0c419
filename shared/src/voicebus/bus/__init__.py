"""The bus: sessions, logs, mailboxes, leases and fan-out on Redis, each transition one script."""
