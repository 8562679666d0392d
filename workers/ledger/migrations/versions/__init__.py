"""One module a step. A released one is never edited: the next step corrects it."""
