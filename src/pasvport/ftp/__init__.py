"""FTP as a balancer must know it: pure protocol, events in and actions out; no socket, no clock, no randomness."""
