"""The embedded AWS: deploys template.yaml into an emulator and runs the whole product on it.

Asked for by name (`make demo`, the end-to-end tests) and never a fallback.
Everything here binds to 127.0.0.1 only.
"""
