"""What this repository does with the package: claims of the article, the evidence on them, tables, stamping."""
