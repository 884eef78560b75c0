"""This process: its signals, children, standard error and proxies. The modules do not import Beam."""
