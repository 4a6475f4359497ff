"""The runtime API: the stats sockets, the commands on them and who may give which."""
