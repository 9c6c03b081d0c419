"""Pure translators between what clients speak and the contract. They never import each other."""
