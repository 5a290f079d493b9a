"""One file per thing outside: SQS, SQLite, WebSocket, HTTP, Prometheus."""
