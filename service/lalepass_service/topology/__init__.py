"""What stands where in an installation of many parts, and whether it is so.

`plan` reads the file that lists the parts and who reaches whom; `look` looks at them from one of
them, all at once and within a few seconds; `judge` compares what was seen with each other.
"""
