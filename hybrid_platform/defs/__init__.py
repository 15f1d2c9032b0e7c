"""What users see in Dagster: assets, checks, jobs, schedules, resources. The work itself lies in `pipeline`."""
