"""The command line `hermes`: one name for what the packages' own command lines do."""
