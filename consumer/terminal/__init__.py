"""What a viewer runs in a terminal: watch, start, executions, token, dashboard.

A client of the contract: it knows the protocol and the REST API, and nothing of the daemon.
"""
