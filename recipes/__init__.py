"""The recipes that come with the package: ``cellzoo list recipes`` shows them."""
