"""Reports: a session's evidence as a page to read. Every value comes from a record, none is written by hand."""
