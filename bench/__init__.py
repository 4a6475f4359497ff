"""The side-by-side benchmark: pasvport, HAProxy and nginx on one machine, as ratios. `python -m bench`."""
