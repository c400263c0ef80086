"""Graph passes: one file, one function, Graph to Graph."""
