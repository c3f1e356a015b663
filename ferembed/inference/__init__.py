"""Running networks: the choice of an engine, OpenVINO, matrix products."""

ENGINES = ("auto", "exact", "keras", "openvino", "openvino-bf16", "openvino-int8")
"""Choice of the engine that runs a network: Keras, the reference, or OpenVINO, faster on a CPU.

Keras and OpenVINO agree within 1e-4; "exact" is OpenVINO where it is installed, else Keras.
"openvino-bf16" is about twice as fast on a CPU with bfloat16. "openvino-int8" is even faster, on
CPUs without bfloat16, too, with a network that ships in INT8 or was calibrated on sample faces.
"auto" is the fastest of these that keeps the labels of the network, else "exact".
"""
