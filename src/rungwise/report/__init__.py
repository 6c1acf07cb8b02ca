"""What people see of a study: tables and lines in a terminal, files to take elsewhere."""
