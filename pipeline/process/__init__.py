"""This process: its signals, children, standard output and error, and proxies. The modules do not import Beam."""
