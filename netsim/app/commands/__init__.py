"""Commands, a file for those that belong together. They alone print."""
