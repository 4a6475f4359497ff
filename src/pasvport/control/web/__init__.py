"""Statistics over HTTP: HAProxy's pages, metrics, health, the dashboard. Served by the supervisor, by no worker."""
