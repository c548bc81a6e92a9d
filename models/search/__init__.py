"""Search: the design space of all families as one conditional space, and studies over it."""
