"""Real FTP servers, real clients and real balancers on loopback addresses, for the tests."""
