"""What users see in Dagster: assets, checks, jobs, schedules, resources. The work itself lies in `pipeline`."""

import gc

# What Dagster made until here stays as long as the process: the collector walks through it no more. While the rest is
# imported, and as the process ends, that took 0.6 of the 3.2 s of a ten-tick run.
gc.freeze()
