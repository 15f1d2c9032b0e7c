"""Tests of the sandbox: its rules, its parts, and real children that try to get out (I1)."""
