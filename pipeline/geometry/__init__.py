"""Moving geometries: the seam between WKB in Arrow batches and arrays of places."""
