"""How much: settings, the model catalogue, prices, lanes and recipes. Values only; nothing here opens a connection."""
