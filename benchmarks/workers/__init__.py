"""One module an engine: computes the features of a request in a process and environment of its own.

Workers of peers run where this project isn't installed: they import nothing of it but `case` and
`metering`, which need the standard library only.
"""
