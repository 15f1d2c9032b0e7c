"""The verification matrix: every claim of the contract with its proof."""
