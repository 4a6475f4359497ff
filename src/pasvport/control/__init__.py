"""Control plane: the supervisor and its rooms, on asyncio. Never touches a client's bytes."""
