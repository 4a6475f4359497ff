"""pasvport: a load balancer for passive FTP and FTPS that reads the HAProxy configuration language."""

__version__ = "0.1.0"
__release_date__ = "2026/11/23"
"""The day of this version, as `show info` writes it."""
