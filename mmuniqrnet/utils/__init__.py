"""What every layer may use: errors, files, the environment, compatibility. Importing it imports nothing else."""
