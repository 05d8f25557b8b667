"""The messages and services of LND that this package uses, and the code generated from them."""
