"""What every driver has to do, and what the file driver promises besides."""
