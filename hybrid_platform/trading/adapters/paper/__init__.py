"""The paper venue: a simulated exchange inside the process, without network (mode PAPER)."""
