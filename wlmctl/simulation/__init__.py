"""Trying a scheduler before it is trusted: the plugin objects themselves, driven by a discrete-event simulation."""
