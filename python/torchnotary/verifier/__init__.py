"""Offline verification of records: numbered steps, a policy, and a verdict for people."""
