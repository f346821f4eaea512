"""One file, one question; each writes its answer under results/."""
