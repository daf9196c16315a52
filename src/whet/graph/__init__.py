"""Surgery on ONNX graphs, exact: shared by runtimes and export."""
