"""Trading: risk, the lifecycle of orders, shadow and paper execution, accounts.

Decision steps and commands go into `engine.ExecutionEngine`; audit records come out. The package is
pure: exact numbers, no I/O, no clock, and nothing in it can open a socket (I1). Adapters accept only
orders that the risk engine has approved (I2).
"""
