"""The language: parser, checks, and the run of scripts through the library's own functions."""
