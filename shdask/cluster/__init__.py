"""The same story on many machines; the only room that uses distributed."""
