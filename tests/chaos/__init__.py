"""Random failures while a study runs: killed processes, a full disk, a failing endpoint, jumping clocks, flipped bytes.

A round runs the study of study.yaml under such failures until its report is made, and compares every artifact with that
of an undisturbed run (driver.py). The suite runs one short round; `make chaos` goes on for long
and prints a table of what happened.
"""
