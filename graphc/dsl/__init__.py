"""The language that users write: friendly words on tensors over the strict ops.

Tensors have the functions as methods and the functions make tensors, so these two files need each
other: entering through the functions, here, settles the order of the imports.
"""

from graphc.dsl import functions as functions
