"""What a verb of the command line does where it is more than one call."""
