"""What goes wrong and when: rules, the answers they spoil and the connections they break.

Refuses to know what a request is about.
"""
