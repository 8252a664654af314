"""What goes over the wire.  Pure functions over bytes; imports nothing of ours."""
