"""Data plane: one epoll loop per worker process. Never imports asyncio or logging."""
