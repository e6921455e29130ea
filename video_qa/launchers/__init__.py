"""Where videos are watched: processes of this machine, actors of a Ray cluster, a Slurm array."""
