"""What a run leaves in its folder, safe against kills and full disks."""
