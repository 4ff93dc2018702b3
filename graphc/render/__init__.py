"""Pictures and derivations of graphs, as values that print, show themselves and save.

Nothing here changes a graph.
"""
