"""The recipes for `type = "command"`.

The packages of their tools are unpacked (`unpack`), and laid over this machine's folders in a private mount namespace.
"""
