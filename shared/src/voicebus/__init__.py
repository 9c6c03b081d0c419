"""What the services of Voicebus share: the contract, the bus on Redis, the chassis of a service."""

__version__ = "0.1.0"
