"""docs/exact-profile.md in Python, slow and sentence by sentence: the tests' authority.

Values are float32 arrays (binary32), whatever they are stored as; ``arithmetic.stored`` gives the
bits of a result in its storage. Only independent outputs are computed side by side.
"""
