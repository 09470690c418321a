"""An exchange on this machine: ``process`` starts it, and nothing else needs its server."""

DEFAULT_PORT = 8765
