"""Texts: tokenizers, the vocabulary of the training texts, and texts as padded rows of tokens."""
