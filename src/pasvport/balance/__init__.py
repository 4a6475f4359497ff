"""Choice of a server: usable candidates and one picker per algorithm. Pure."""
