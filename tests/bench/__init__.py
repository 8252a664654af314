"""How fast the gateway is: ``make bench``.  Measurements, not tests: nothing here can fail a build.

Every figure is one line of JSON on standard output.  Where the wire sets the limit, the figure is a
ratio to what the wire allowed in the same run, so that it means the same on any machine.
"""
