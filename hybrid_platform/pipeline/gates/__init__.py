"""The gates before a session and the judgement after it: preflight, PRAGMAs, postflight, proofs (G1 to G5)."""
