"""This process: its signals, children, standard error and proxies; imports no Beam."""
