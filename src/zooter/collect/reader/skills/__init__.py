"""Skills of the embedded zoo: templates that generate queries with reference answers, and exact verification."""
