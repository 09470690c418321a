"""Real processes on the channels, killed and stopped at random points; scripts/stress runs them
for as long as you like."""
