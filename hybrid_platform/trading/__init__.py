"""Trading: risk, order life, shadow and paper execution, accounts. Pure: no I/O, no clock, exact numbers.

Steps of ticks and signals go into `engine.ExecutionEngine`, audit records come out. Nothing in this
room can open a socket (I1), and an order that skipped risk cannot be expressed (I2).
"""
