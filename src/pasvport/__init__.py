"""pasvport: a load balancer for passive FTP and FTPS that reads the HAProxy configuration language."""

__version__ = "0.1.0"
