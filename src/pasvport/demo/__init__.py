"""Embedded FTP servers and the guided demonstration."""
