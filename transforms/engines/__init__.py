"""Token ids to logits: PyTorch and OpenVINO behind one interface."""
