"""A study as a page: what it says of itself as plain values, and these as one HTML file or as Markdown."""
