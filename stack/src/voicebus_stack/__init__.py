"""Every Voicebus service on one machine, without containers: `make run` and `make demo`."""
