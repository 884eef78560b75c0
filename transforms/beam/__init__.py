"""The PTransforms, Beam's model handler and the coders."""
