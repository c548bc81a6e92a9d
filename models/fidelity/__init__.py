"""Is a database realistic? Its degrees, dependences and tasks in figures, next to other databases."""
