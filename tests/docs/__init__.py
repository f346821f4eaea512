"""The documentation: every block of code runs, the site is built, the reference is complete."""
