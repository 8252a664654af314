"""Reading meters: the line, its ports, the schedule, and who answers."""
