"""The recipes under deploy/, run as they stand."""
