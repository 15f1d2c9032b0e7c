"""Code that several topics share: names, runs, metadata and resources."""
