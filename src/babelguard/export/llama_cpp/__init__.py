"""Parts of the exporter `gguf`: the converter package, the process that runs it, and the Modelfile of Ollama."""
