"""Elementary functions as arithmetic on loops IR, for f32 and f64, scalars and vectors alike.

Special values are C99's. Accuracy: docs/vector-maths.md, held by tests/test_math.py.
"""
