"""What is asked about which video, and when: annotation files and benchmarks."""
