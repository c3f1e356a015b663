"""Running networks: the choice of an engine, OpenVINO, matrix products."""

ENGINES = ("auto", "keras", "openvino", "openvino-bf16", "openvino-int8")
