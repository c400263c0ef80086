"""The tdsl compiler: pure functions from a recorded graph to LLVM IR."""
