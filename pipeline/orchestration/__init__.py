"""The house as Dagster shows and runs it: assets, checks, automation, the guarded UI and the headless run."""
