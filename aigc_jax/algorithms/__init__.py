"""One file per method, each a factory that returns an Algorithm."""
