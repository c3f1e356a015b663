"""How a network is run: the choice of an engine, OpenVINO, matrix products."""
