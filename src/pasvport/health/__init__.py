"""Health checks without a network: results, the rise/fall count, check scripts and agent replies as dialogues."""
