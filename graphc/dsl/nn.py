"""``gx.nn``: the layers by name, each in the file of its kind."""

from graphc.dsl.layers import Conv2d, Dense
from graphc.dsl.recurrent import GRU, LSTM, RNN, Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Conv2d", "Dense", "Recurrent"]
