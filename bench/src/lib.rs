//! Side-by-side measurements, with the command next to each figure.
