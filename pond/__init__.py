"""The command line: composes everything, imported by nobody."""
