"""Window aggregates along schema paths, compiled to SQL."""
