"""The kinds of places: one module each, which checks their flags and connects them to the graph."""
