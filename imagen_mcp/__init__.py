"""imagen for assistants: a server of the Model Context Protocol over imagen's
public names.

Importing this package costs nothing; `imagen_mcp.server` needs the extra
`imagen-trio[mcp]`.
"""
