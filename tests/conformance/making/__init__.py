"""Makes the conformance suite's records: genuine ones, and one for each bug by which one is bad."""
