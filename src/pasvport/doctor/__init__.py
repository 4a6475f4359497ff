"""`pasvport doctor`: what will break in an FTP farm, said before it does."""
