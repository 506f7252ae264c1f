"""One widget a file: each turns rows into lines that fit, and repaints those that changed."""
