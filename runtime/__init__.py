"""Bytes, machine code, caches, threads: what runs a compiled program. It knows pointers, not ops."""
