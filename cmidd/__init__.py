"""cmidd: dataset distillation with class-aware conditional mutual information."""
