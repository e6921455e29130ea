"""Slurm array jobs by submitit; all but the marker of a job needs the extra `slurm`."""
