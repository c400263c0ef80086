"""tdsl, the tensor language that compiles."""
