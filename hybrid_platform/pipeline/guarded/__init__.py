"""The guarded process: its main, its pipes, the wire between, and the stages that stand for it in the op (I1)."""
